"""`where`: a boolean SQL expression over chunks and their documents, for every retriever."""

from __future__ import annotations

import numpy as np
import pytest
from contract import CASES, assert_sound, hits_of, opened, possible

from mnemodex.schemas.errors import QueryError

ROWS = 119
QUESTIONS = ["Who winds the clockwork of the lamp?", "Где маяк?", "", "the harbour"]


@pytest.fixture(scope="module", params=CASES)
def retriever(request, memory):
    return opened(memory, request.param)


@pytest.fixture(scope="module")
def table(memory):
    """All chunks with their document's columns, as pandas."""
    return memory.sql(
        "SELECT c.*, d.key, d.title AS document_title, d.text AS document_text, d.metadata->>'lang' AS lang, "
        "CAST(d.metadata->>'year' AS INT) AS year FROM chunks c JOIN documents d USING (doc_id)"
    ).to_df()


def ids_of(rows):
    return set(rows.chunk_id.tolist())


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("title = 'Twin'", lambda t: t[t.title == "Twin"]),
        ("c.text LIKE '%salt%'", lambda t: t[t.text.str.contains("salt")]),
        ("text LIKE '%salt%'", lambda t: t[t.text.str.contains("salt")]),
        ("d.text LIKE '%salt%'", lambda t: t[t.document_text.str.contains("salt")]),
        ("d.title = 'Twin'", lambda t: t[t.document_title == "Twin"]),
        ("key = 'twin b'", lambda t: t[t.key == "twin b"]),
        ("metadata->>'lang' = 'ru'", lambda t: t[t.lang == "ru"]),
        ("metadata->>'lang' <> 'en' OR key = 'mill-1'", lambda t: t[(t.lang != "en") | (t.key == "mill-1")]),
        ("(metadata->>'year')::INT BETWEEN 1901 AND 1902", lambda t: t[t.year.between(1901, 1902)]),
        ("ordinal > 0 -- a comment", lambda t: t[t.ordinal > 0]),
        ("source = 'part-1.jsonl' AND tokens < 30", None),
        ("chunk_id IN (SELECT chunk_id FROM embeddings_minilm)", lambda t: t),
        ("title = 'Маяк'", lambda t: t[t.title == "Маяк"]),
        ("TRUE", lambda t: t),
        ("false", lambda t: t[:0]),
        ("NULL", lambda t: t[:0]),
    ],
)
def test_only_what_matches_is_found_and_all_of_it(retriever, memory, table, where, expected):
    matching = set(memory.ids_where(where).tolist()) if expected is None else ids_of(expected(table))
    assert where == "false" or where == "NULL" or matching
    hits = retriever.search(QUESTIONS, ROWS, where=where)
    expected = possible(retriever, QUESTIONS, hits_of(memory, retriever, matching))
    assert_sound(hits, queries=len(QUESTIONS), k=ROWS, matching=[len(some) for some in expected])
    for row, some in zip(hits.ids, expected, strict=True):
        found = set(row[row >= 0].tolist())
        assert found <= some and len(found) == min(ROWS, len(some))


@pytest.mark.parametrize("rows", [1, 12, 60, ROWS])
@pytest.mark.parametrize("k", [1, 10, ROWS + 5])
def test_a_filter_never_costs_hits(retriever, memory, table, rows, k):
    chunk_ids = table.sample(rows, random_state=rows).chunk_id.tolist()
    hits = retriever.search(QUESTIONS, k, where=f"chunk_id IN ({', '.join(map(str, chunk_ids))})")
    kept = hits_of(memory, retriever, chunk_ids)
    matching = [len(some) for some in possible(retriever, QUESTIONS, kept)]
    assert_sound(hits, queries=len(QUESTIONS), k=k, matching=matching)
    assert set(hits.ids[hits.ids >= 0].tolist()) <= kept


ABSOLUTE = [case for case in CASES if not {"hybrid", "contiguity", "recency", "rounds"} & set(case.split("-"))]


@pytest.mark.parametrize("case", ABSOLUTE)
def test_filtered_answers_are_the_full_ranking_without_the_rest(memory, case):
    """Other kinds have scores that are relative to what is left, or ask with answers of that in later rounds."""
    retriever, where = opened(memory, case), "title LIKE '%coast%' OR metadata->>'lang' <> 'en'"
    full, filtered = retriever.search(QUESTIONS, ROWS), retriever.search(QUESTIONS, ROWS, where=where)
    kept = list(hits_of(memory, retriever, set(memory.ids_where(where).tolist())))
    for number in range(len(QUESTIONS)):
        here = np.isin(full.ids[number], kept)
        np.testing.assert_allclose(filtered.scores[number, : here.sum()], full.scores[number, here], atol=1e-5)
        expected = dict(zip(full.ids[number, here].tolist(), full.scores[number, here].tolist(), strict=True))
        found = dict(zip(filtered.ids[number].tolist(), filtered.scores[number].tolist(), strict=True))
        assert all(abs(found[chunk_id] - score) < 1e-5 for chunk_id, score in expected.items())


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("titel = 'x'", 'column "titel" not found'),
        ("title =", "syntax error"),
        ("", "without selection list"),
        ("title", "Could not convert"),
        ("1=1; DROP VIEW chunks", "more than one statement"),
        ("title = 'x') kept; SELECT * FROM chunks; --", "syntax error"),
        ("true)) kept, LATERAL (SELECT 1 AS chunk_id WHERE ((true", "syntax error"),
        ("true, false", "single expression"),
        ("true ORDER BY 1", "modifier"),
        ("chunk_id IN (SELECT column0 FROM read_csv('/etc/passwd'))", "disabled by configuration"),
        ("title IN (SELECT content FROM read_text('.tmp/note'))", "disabled by configuration"),
        ("title IN (WITH x AS (COPY (SELECT 'a' b) TO '.tmp/x.csv') SELECT b FROM x)", "must be at the top level"),
        ("title = 'unclosed", "unterminated string"),
        ("nope(title)", "nope does not exist"),
    ],
    ids=[
        "column",
        "half",
        "empty",
        "no-boolean",
        "two",
        "closing",
        "breakout",
        "list",
        "order",
        "file",
        "temporary-file",
        "copy",
        "quote",
        "function",
    ],
)
def test_what_is_no_such_expression_is_refused_by_name(memory, where, reason):
    with pytest.raises(QueryError) as caught:
        memory.retriever("words").search(["a"], 3, where=where)
    message = str(caught.value)
    assert message.startswith(f"where {where!r} is not a boolean expression over chunks c and documents d: ")
    assert reason.casefold() in message.casefold() and "\n" not in message


@pytest.mark.parametrize("where", [{"title": "x"}, ["title"], 1, b"true", "title = '\ud800'"])
def test_what_is_no_text_is_refused(retriever, where):
    with pytest.raises(QueryError, match=r"not a string; write a SQL expression|lone surrogate"):
        retriever.search(["a"], 3, where=where)


@pytest.mark.parametrize("questions", [["a"], []], ids=["asked", "without-questions"])
def test_a_wrong_filter_is_refused_by_every_retriever(retriever, questions):
    with pytest.raises(QueryError, match="where \"titel = 'x'\" is not a boolean expression"):
        retriever.search(questions, 3, where="titel = 'x'")
