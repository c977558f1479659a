"""Keys with a filter: whatever they ask, they see nothing of the rows of others."""

from __future__ import annotations

import asyncio
import re

import pytest
from library import records

from mnemodex.deploy.access import OPEN, SCOPES, Access
from mnemodex.deploy.operations.base import Form
from mnemodex.deploy.operations.fetch import FetchForm
from mnemodex.deploy.operations.indexes import indexes
from mnemodex.deploy.operations.next_token import NextTokenForm
from mnemodex.deploy.operations.ngrams import NgramsForm
from mnemodex.deploy.operations.search import SearchForm
from mnemodex.deploy.operations.sql import SqlForm
from mnemodex.schemas.errors import AccessError, QueryError

OWN = ("harbour", "lighthouse", "bakery")
TENANT = Access(
    key_name="tenant", scopes=frozenset({"search", "answer"}), where="d.key SIMILAR TO '(harbour|lighthouse|bakery)-.*'"
)
OTHERS = Access(key_name="others", scopes=frozenset({"search"}), where="d.key LIKE 'mill-%'")
GRAPHS = ["bridge", "hipporag2", "lite"]
INDEXES = ["flat", "words", "ngrams", "keys", *GRAPHS, "next", "asked", "hops", "reranked", "both", "all"]
QUESTIONS = ["Who winds the lamp?", "Saturn through the telescope", "slate from the quarry", "keeper", "orchard", "the"]


def words(texts):
    return {word for text in texts for word in re.findall(r"\w{5,}", text.casefold())}


def is_own(record):
    return record["id"].partition("-")[0] in OWN


def said(record):
    return f"{record['id']} {record['title']} {record['text']}"


FOREIGN = words(said(record) for record in records() if not is_own(record)) - words(
    said(record) for record in records() if is_own(record)
)
"""Words that only the documents of others have."""


def check_own(answer, *asked):
    """That an answer has no word of others, but for those that were asked."""
    found = FOREIGN & words(texts_of(answer)) - words(asked)
    assert not found, found


def texts_of(value):
    """All texts of an answer, without the names of its fields."""
    if isinstance(value, dict | list):
        return [text for part in (value.values() if isinstance(value, dict) else value) for text in texts_of(part)]
    return [str(value)]


@pytest.fixture
def ask(service):
    def run(name, form, access=TENANT):
        return asyncio.run(service.run(name, form, access))

    return run


def words_at(text, border):
    """The two words before a place of a text, and the one after it."""
    return re.search(r"\S+\s+\S+$", text[:border])[0], re.match(r"\s*\S+", text[border:])[0]


class TestATenant:
    @pytest.mark.parametrize("index", INDEXES)
    @pytest.mark.parametrize("where", [None, "true", "d.year > 0 OR true", "d.key LIKE 'mill-%' OR text LIKE '%a%'"])
    def test_finds_its_own_rows_alone_and_no_reason_of_others(self, ask, index, where):
        form = SearchForm(index=index, queries=QUESTIONS, k=50, where=where, explain=True)
        answer = ask("search", form)
        hits = [hit for row in answer["hits"] for hit in row]
        assert hits and all(hit["key"].partition("-")[0] in OWN for hit in hits)
        check_own(hits, *QUESTIONS)

    def test_gets_documents_and_chunks_of_its_own_alone(self, ask, memory):
        keys = [record["id"] for record in records()]
        answer = ask("fetch", FetchForm(keys=keys[:60]))
        assert {document["key"].partition("-")[0] for document in answer["documents"]} == set(OWN)
        assert len(answer["documents"]) + len(answer["missing"]) == len(keys[:60])
        check_own(answer["documents"])
        chunk_ids = [str(row[0]) for row in memory.sql("SELECT chunk_id FROM chunks LIMIT 60").fetchall()]
        answer = ask("fetch", FetchForm(chunk_ids=chunk_ids))
        assert answer["chunks"] and {chunk["key"].partition("-")[0] for chunk in answer["chunks"]} <= set(OWN)
        assert len(answer["chunks"]) + len(answer["missing"]) == len(chunk_ids)

    def test_with_a_filter_of_chunks_gets_no_document_that_has_others(self, ask, memory):
        access = Access(key_name="k", scopes=frozenset({"search"}), where="c.ordinal = 0")
        several = "SELECT d.key FROM documents d JOIN chunks c USING (doc_id) GROUP BY 1 HAVING count(*) > 1"
        (key,) = memory.sql(f"{several} LIMIT 1").fetchall()[0]
        assert ask("fetch", FetchForm(keys=[key]), access)["missing"] == [key]

    def test_sees_names_of_indexes_and_no_numbers_of_rows(self, service):
        answer = indexes(service.memories.get(None), Form(), TENANT)
        assert answer["tables"] == [] and {index["name"] for index in answer["indexes"]} >= set(INDEXES)
        assert {index[number] for index in answer["indexes"] for number in ("rows", "bytes")} == {None}

    def test_has_concordances_of_its_own_documents(self, ask):
        answer = ask("ngrams", NgramsForm(index="ngrams", phrases=["the", "slate"], what="concordance", limit=50))
        assert answer["concordance"][0] and not answer["concordance"][1]
        check_own(answer["concordance"], "slate")

    def test_learns_nothing_of_the_chunks_beside_its_own_by_phrases_across_their_border(self, ask, memory):
        access = Access(key_name="k", scopes=frozenset({"search"}), where="c.ordinal = 0")
        rows = memory.sql(
            'SELECT d.key, d.text, c.chunk_id, c."end" FROM chunks c JOIN documents d USING (doc_id) '
            'WHERE c.ordinal = 0 AND c."end" < length(d.text) - 20'
        ).fetchall()
        borders = [(key, text, chunk_id, border, *words_at(text, border)) for key, text, chunk_id, border in rows]
        once = [row for row in borders if row[1].count("".join(row[4:])) == 1]
        assert len(once) > 3
        for key, _, chunk_id, border, own, following in once:
            across = own + following
            for who, there in ((access, False), (OPEN, True)):
                form = SearchForm(index="ngrams", queries=[across], k=50, kind="chunk")
                assert (str(chunk_id) in [hit["chunk_id"] for hit in ask("search", form, who)["hits"][0]]) == there
                form = NgramsForm(index="ngrams", phrases=[across, own], what="concordance", limit=50)
                crossing, beside = ask("ngrams", form, who)["concordance"]
                assert (key in [found["key"] for found in crossing]) == there
                contexts = [one for found in beside if found["key"] == key for one in found["occurrences"]]
                last = next(one["after"] for one in contexts if one["end"] == border)
                assert (last.split()[:1] == following.split()) == there

    @pytest.mark.parametrize(
        ("operation", "form"),
        [
            ("ngrams", NgramsForm(index="ngrams", phrases=["slate"])),
            ("ngrams", NgramsForm(index="ngrams", phrases=["slate"], what="continuations")),
            ("ngrams", NgramsForm(index="ngrams", phrases=["slate"], what="locate")),
            ("next-token", NextTokenForm(index="next", what="describe")),
            ("sql", SqlForm(query="SELECT 1")),
        ],
    )
    def test_is_refused_what_cannot_be_filtered(self, ask, operation, form):
        access = Access(key_name="k", scopes=SCOPES, where=TENANT.where)
        with pytest.raises(AccessError, match="cannot be filtered"):
            ask(operation, form, access)

    @pytest.mark.parametrize(
        "where",
        [
            "true) OR (true",
            "EXISTS (SELECT 1 FROM documents WHERE text LIKE '%Saturn%')",
            "ngram_count('ngrams', 'Saturn') > 0",
            "d.key IN (SELECT key FROM documents)",
        ],
    )
    def test_is_no_oracle_over_rows_of_others(self, ask, where):
        with pytest.raises(QueryError, match=r"^where "):
            ask("search", SearchForm(index="words", queries=["keeper"], where=where))

    def test_is_quoted_no_row_of_others_by_an_error(self, ask):
        # Each own key ends with a digit; of the others one begins with a word that no cast takes.
        own = "regexp_matches(d.key, '[0-9]$') AND d.key[-1:]::INTEGER > 0"
        assert ask("search", SearchForm(index="words", queries=["keeper"], where=own))["hits"][0]
        with pytest.raises(QueryError) as raised:
            ask("search", SearchForm(index="words", queries=["keeper"], where="d.key::INTEGER > 0"))
        assert re.search(r"'(harbour|lighthouse|bakery)-\d'", str(raised.value)), raised.value
        assert "SIMILAR" not in str(raised.value)

    def test_shares_no_batch_with_another_tenant(self, service):
        form = SearchForm(index="flat", queries=["keeper"], k=5)

        async def both():
            return await asyncio.gather(
                *(service.run("search", form, access) for access in (TENANT, OTHERS, OPEN) for _ in range(5))
            )

        answers = asyncio.run(both())
        for number, owners in enumerate((OWN, ("mill",))):
            for answer in answers[5 * number : 5 * number + 5]:
                assert answer["hits"][0] and all(hit["key"].partition("-")[0] in owners for hit in answer["hits"][0])
