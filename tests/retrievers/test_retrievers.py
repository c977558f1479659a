"""The contract of every retriever, over the library's indexes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from contract import (
    CASES,
    PLACES,
    QUESTIONS,
    assert_sound,
    chunk_of_hits,
    explained,
    kind_of_hits,
    opened,
    possible,
    retriever_at,
)

from mnemodex.retrievers.graph.retriever import GraphRetriever
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.kinds import KINDS


@pytest.fixture(scope="module", params=PLACES)
def asked(request):
    """Where the memory is that is asked, and the case."""
    return request.param


@pytest.fixture(scope="module")
def local(memory, asked):
    """The retriever of the case in this process, which knows what can be a hit."""
    return opened(memory, asked[1])


@pytest.fixture(scope="module")
def retriever(request, asked):
    return retriever_at(request, *asked)


@pytest.fixture(scope="module")
def chunks(memory, local):
    """The chunk of everything that can be a hit, by the hit's id."""
    rows = memory.sql(
        'SELECT c.chunk_id, c.doc_id, d.key, c.title, c.text, c.start, c."end" '
        "FROM chunks c JOIN documents d USING (doc_id)"
    ).to_arrow_table()
    found = {row["chunk_id"]: row for row in rows.to_pylist()}
    return {hit: found[chunk_id] for hit, chunk_id in chunk_of_hits(memory, local)}


def test_every_registered_type_is_tested_here(memory):
    ours = {name for name in KINDS.names() if not KINDS.find(name).version}
    assert {memory.snapshot.index(name).type for name in CASES.values()} == ours


@pytest.mark.parametrize("k", [1, 3, 10, 119, 150])
def test_answers_have_the_promised_shape_order_and_missing_places(retriever, local, chunks, k):
    hits = retriever.search(QUESTIONS, k)
    matching = [len(some) for some in possible(local, QUESTIONS, chunks)]
    assert_sound(hits, queries=len(QUESTIONS), k=k, matching=matching)
    assert set(hits.ids.ravel().tolist()) <= {*chunks, -1}
    assert len(hits) == len(QUESTIONS) and hits.kind == kind_of_hits(local)


def test_the_best_hit_is_what_was_asked_for(retriever):
    # A language model goes on from the beginning of a text, and the others find it as well.
    answers = retriever.search(["The café serves naïve guests strong coffee", "Apples from the orchard"], 1).chunks()
    assert [answer[0].title.split()[0] for answer in answers] == ["Café", "Orchard"]


@pytest.mark.parametrize(
    ("question", "key"), [("Смотритель маяка заводит часы", "ru"), ("السفن تدخل الميناء", "ar")], ids=["ru", "ar"]
)
def test_other_scripts_are_found(retriever, question, key):
    assert key in [chunk.key for chunk in retriever.search([question], 3).chunks()[0]]


def test_a_smaller_k_is_the_beginning_of_a_larger_one(retriever):
    few, many = retriever.search(QUESTIONS, 4), retriever.search(QUESTIONS, 60)
    np.testing.assert_allclose(few.scores, many.scores[:, :4], atol=1e-5)
    assert np.array_equal(few.ids, many.ids[:, :4])


def test_a_batch_gives_the_answers_of_single_questions(retriever):
    batch = retriever.search(QUESTIONS, 7)
    for number, question in enumerate(QUESTIONS):
        single = retriever.search([question], 7)
        np.testing.assert_allclose(single.scores[0], batch.scores[number], atol=1e-5)
        apart = np.diff(-batch.scores[number][batch.ids[number] >= 0]) > 1e-4
        # Of scores that are a rounding error apart, either may come first.
        if apart.all():
            assert np.array_equal(single.ids[0], batch.ids[number])


def test_the_same_question_twice_in_a_batch_gets_one_answer(retriever):
    hits = retriever.search(["apples in straw", "xyzzy", "apples in straw"], 5)
    assert np.array_equal(hits.ids[0], hits.ids[2])


def test_no_questions_give_no_answers(retriever):
    hits = retriever.search([], 5)
    assert_sound(hits, queries=0, k=5, matching=5)
    assert hits.chunks() == [] and hits.to_arrow().num_rows == 0 and hits.to_trec() == ""
    assert hits.documents() == []


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(retriever, k):
    with pytest.raises(QueryError, match=f"k is {k}"):
        retriever.search(["a"], k)
    with pytest.raises(QueryError, match=f"k is {k}"):
        retriever.search([], k)


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ("one string", r"a list of questions, not a str: search\(\[question\]\)"),
        ([None], "question 0 is a NoneType"),
        (["a", 5], "question 1 is a int"),
        (["a", "b\udcff"], "question 1 holds a lone surrogate"),
    ],
    ids=["string", "none", "number", "surrogate"],
)
def test_what_is_no_list_of_texts_is_refused(retriever, questions, message):
    with pytest.raises(QueryError, match=message):
        retriever.search(questions, 3)


def test_questions_may_be_any_sequence_and_hold_any_characters(retriever, local, chunks):
    strange = ("a\0b", "\N{PILE OF POO}" * 3, " \t\n", "word " * 2000, "e\u0301")
    hits = retriever.search(strange, 3)
    matching = [len(some) for some in possible(local, strange, chunks)]
    assert_sound(hits, queries=len(strange), k=3, matching=matching)


def test_chunks_are_the_tables_rows(retriever, local, chunks):
    hits = retriever.search(QUESTIONS, 150)
    answers = hits.chunks()
    possibly = possible(local, QUESTIONS, chunks)
    assert [len(answer) for answer in answers] == [min(150, len(some)) for some in possibly]
    for ids, scores, answer in zip(hits.ids, hits.scores, answers, strict=True):
        there = ids[ids >= 0].tolist()
        assert [chunk.chunk_id for chunk in answer] == [chunks[hit]["chunk_id"] for hit in there]
        assert [chunk.score for chunk in answer] == scores[ids >= 0].tolist()
        assert [chunk.rank for chunk in answer] == list(range(1, len(answer) + 1))
        for hit, chunk in zip(there, answer, strict=True):
            row = chunks[hit]
            assert {name: getattr(chunk, name) for name in row} == row


def test_arrow_pandas_chunks_and_trec_agree(retriever):
    hits = retriever.search(QUESTIONS, 12)
    table = hits.to_arrow()
    listed = [
        {"query": number, **{name: getattr(chunk, name) for name in chunk.__slots__}}
        for number, answer in enumerate(hits.chunks())
        for chunk in answer
    ]
    assert table.column_names[-3:] == ["lang", "year", "time"]
    rows = table.drop_columns(["lang", "year", "time"]).to_pylist()
    assert [{**row, "metadata": json.loads(row["metadata"])} for row in rows] == listed
    assert hits.to_pandas().to_dict("records") == table.to_pylist()
    best = {}
    for row in listed:
        best.setdefault((row["query"], row["key"].replace(" ", "%20")), row["score"])
    lines = [line.split() for line in hits.to_trec().splitlines()]
    assert [(int(query), key) for query, _, key, _, _, _ in lines] == list(best)
    np.testing.assert_allclose([float(line[4]) for line in lines], list(best.values()), atol=1e-5)
    ranks = [int(line[3]) for line in lines]
    assert all(rank == 1 or rank == before + 1 for before, rank in zip([0, *ranks], ranks, strict=False))


def test_every_hit_has_a_reason_and_asking_for_it_changes_no_hit(retriever):
    hits = explained(retriever, QUESTIONS, 7)
    ids, scores = hits.ids.copy(), hits.scores.copy()
    reasons = hits.reasons()
    assert [len(row) for row in reasons] == (ids >= 0).sum(axis=1).tolist()
    for reason in (reason for row in reasons for hit in row for reason in hit):
        assert reason.kind and isinstance(reason.text, str) and np.isfinite(reason.score)
    assert all(hit for row in reasons for hit in row)
    json.dumps([reason.to_json() for row in reasons for hit in row for reason in hit], allow_nan=False)
    again = retriever.search(QUESTIONS, 7)
    for found in (hits, again):
        assert np.array_equal(found.ids, ids)
        np.testing.assert_allclose(found.scores, scores, atol=1e-5)


def test_documents_of_hits(retriever, chunks):
    hits = retriever.search(QUESTIONS, 130)
    found = hits.ids >= 0
    expected = [chunks[chunk_id]["doc_id"] for chunk_id in hits.ids[found].tolist()]
    documents = hits.document_ids()
    assert documents[found].tolist() == expected
    assert (documents[~found] == -1).all()


def first_by_language(chunks):
    """The first three languages of hits, each with the id of its best chunk."""
    best = {}
    for chunk in chunks:
        best.setdefault(chunk.metadata["lang"], chunk.chunk_id)
    return list(best.items())[:3]


def test_groups_are_those_of_the_hits_best_first(retriever, local):
    if kind_of_hits(local) != "chunk":
        with pytest.raises(QueryError, match=r"its hits are (pair|position)s; group those of an index over chunks"):
            retriever.search(QUESTIONS, 3, group_by="lang")
        return
    answers = retriever.search(QUESTIONS, 3, group_by="lang")
    found = [[(group.value, group.hits[0].chunk_id) for group in groups] for groups in answers]
    # More hits are looked at where these have too few groups, and some scores depend on how many there are.
    folded = [[first_by_language(chunks) for chunks in retriever.search(QUESTIONS, k).chunks()] for k in (100, 200)]
    assert found in folded
    for group in (group for groups in answers for group in groups):
        assert group.score == group.hits[0].score
        assert {hit.metadata["lang"] for hit in group.hits} == {group.value}


def test_a_field_to_group_by_that_no_document_has_is_refused(retriever, local):
    if kind_of_hits(local) == "chunk":
        with pytest.raises(QueryError, match=r"group_by: no document has the field 'langs'. Did you mean 'lang'\?"):
            retriever.search(["the harbour"], 3, group_by="langs")


def test_expanded_hits_hold_each_text_once(asked, memory, retriever, local):
    if asked[0] != "opened" or kind_of_hits(local) != "chunk":
        with pytest.raises(QueryError, match=r"come without their neighbours|have no neighbours"):
            retriever.search(QUESTIONS, 3, expand=1)
        return
    texts = dict(memory.sql("SELECT key, text FROM documents").fetchall())
    hits = retriever.search(QUESTIONS, 3).chunks()
    for spans, chunks in zip(retriever.search(QUESTIONS, 3, expand=(1, 0)), hits, strict=True):
        assert sorted(rank for span in spans for rank in span.ranks) == [chunk.rank for chunk in chunks]
        pieces = [piece for span in spans for piece in span.pieces]
        assert all(piece.text == texts[piece.key][piece.start : piece.end] for piece in pieces)
        seen = [(piece.key, place) for piece in pieces for place in range(piece.start, piece.end)]
        assert len(seen) == len(set(seen))
        for chunk in chunks:
            assert {(chunk.key, place) for place in range(chunk.start, chunk.end)} <= set(seen)


def test_hits_are_grouped_or_expanded_and_not_both(retriever):
    with pytest.raises(QueryError, match="hits are grouped or expanded"):
        retriever.search(["the harbour"], group_by="lang", expand=1)


def test_superseded_facts_are_left_out_of_graphs_with_facts(retriever, local):
    if isinstance(local, GraphRetriever) and len(local.space.graph.subjects):
        hits = retriever.search(QUESTIONS, 7, newest=True)
        assert_sound(hits, queries=len(QUESTIONS), k=7, matching=[7 if question else 0 for question in QUESTIONS])
        return
    with pytest.raises(QueryError, match=r"knows of no facts|its graph has no facts"):
        retriever.search(["the harbour"], newest=True)
