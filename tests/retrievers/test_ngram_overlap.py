"""Which questions and answers share n-grams with the corpus, against a search of all texts for all windows."""

from __future__ import annotations

import json
import random

import pytest
from library import write_jsonl
from small_memory import build_inline, write_corpus
from tokenizer_models import byte_level, save

import mnemodex
from mnemodex.indexers.models.tokenizers import tokenizer
from mnemodex.retrievers.ngram.overlap import find_overlaps
from mnemodex.retrievers.queries import Query
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.sections import DEFAULT_MODEL

WORDS = ("the", "tide", "mill", "wheel", "turns", "salt", "rope", "and", "in", "an", "old", "harbour", "grey")


def sentence(seed, words):
    return " ".join(random.Random(seed).choices(WORDS, k=words))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Documents of few words, which share many n-grams, in two partitions; one is deleted."""
    folder = tmp_path_factory.mktemp("overlap")
    save(byte_level(), folder / "bytes")
    for part in range(2):
        rows = [
            {"id": f"d{n}", "title": sentence(-n, 6), "text": sentence(n, 40)} for n in range(10 * part, 10 * part + 10)
        ]
        write_jsonl(folder / "source" / f"{part}.jsonl", rows)
    indexes = {"pieces": {"type": "ngram"}, "bytes": {"type": "ngram", "tokenizer": str(folder / "bytes")}}
    build_inline(folder / "source", folder / "memory", indexes)
    mnemodex.open(folder / "memory").delete(["d3"])
    return folder


def spelled(ids):
    """Token ids as a text, of which an n-gram is a part."""
    return "".join(f"<{number}>" for number in ids)


def overlaps(built, queries, index="pieces", **options):
    memory = mnemodex.open(built / "memory")
    return find_overlaps(memory.retriever(index), memory.snapshot, queries, **options)


@pytest.mark.parametrize("index", ["pieces", "bytes"])
@pytest.mark.parametrize("n", [2, 4, 7])
def test_counts_and_longest_matches_are_those_of_every_window(built, index, n):
    cut = tokenizer(DEFAULT_MODEL if index == "pieces" else str(built / "bytes"))
    memory = mnemodex.open(built / "memory")
    corpus = memory.sql("SELECT key, title, text FROM documents").fetchall()
    written = [spelled(cut.encode(text, add_special_tokens=False).ids) for _, *texts in corpus for text in texts]
    queries = [Query(str(seed), sentence(100 + seed, 14), answers=(sentence(seed, 40)[40:120],)) for seed in range(8)]

    def occurs(ngram):
        return any(spelled(ngram) in ids for ids in written)

    expected = {}
    for query in queries:
        for field, text in (("question", query.question), ("answer", query.answers[0])):
            best = (0, 0)
            for spelling in (text.strip(), f" {text.strip()}"):
                ids = cut.encode(spelling, add_special_tokens=False).ids
                windows = [ids[at : at + n] for at in range(len(ids) - n + 1)]
                found = sum(map(occurs, windows))
                spans = [ids[at:to] for at in range(len(ids)) for to in range(at + n, len(ids) + 1)]
                best = max(best, (found, max((len(span) for span in spans if occurs(span)), default=0)))
            if best[0]:
                expected[query.id, field] = best
    found = overlaps(built, queries, index, n=n)
    assert {(row.id, row.field): (row.found, row.longest) for row in found.overlaps} == expected and expected
    texts = {key: f"{title}\n{text}" for key, title, text in corpus}
    assert all(row.match in texts[row.key] for row in found.overlaps)


def test_a_document_that_is_deleted_is_no_longer_in_the_corpus(built):
    queries = [Query("gone", sentence(3, 40)), Query("there", sentence(4, 40))]
    assert [row.id for row in overlaps(built, queries).overlaps] == ["there"]


def test_titles_count_and_short_texts_are_left_out_and_counted(built):
    found = overlaps(built, [Query("a", sentence(-5, 6), answers=("salt", "rope")), Query("b", "the tide")], n=6)
    assert [(row.id, row.key, row.found) for row in found.overlaps] == [("a", "d5", 1)]
    assert (found.asked, found.short) == ({"question": 1, "answer": 0}, {"question": 1, "answer": 2})


def test_words_that_the_tokenizer_does_not_know_are_nowhere(built):
    found = overlaps(built, [Query("a", f"☃ {sentence(4, 40)}")])
    assert len(found.overlaps) == 1 and found.overlaps[0].found == found.overlaps[0].ngrams - 1


def test_an_ngram_has_a_token_at_least(built):
    with pytest.raises(QueryError, match="at least 1 token"):
        overlaps(built, [Query("a", "b")], n=0)


def test_the_command_lists_them_and_counts_the_others(built, tmp_path, cli):
    rows = [{"id": "a", "question": sentence(4, 40)}, {"id": "b", "question": "What?", "answers": ["zebra " * 20]}]
    path = write_jsonl(tmp_path / "queries.jsonl", rows)
    ran = cli("overlap", built / "memory", "pieces", "--queries", path)
    assert ran.code == 0 and "d4" in ran.out
    assert "1 of 1 questions share 13 tokens with the corpus; 1 of fewer than 13 tokens were not looked up" in ran.out
    assert "0 of 1 answers share" in ran.out
    shown = json.loads(cli("overlap", built / "memory", "pieces", "--queries", path, "--json").out)
    assert shown["overlaps"][0]["id"] == "a" and shown["queries"] == 2 and shown["short"]["question"] == 1


def test_the_command_needs_an_ngram_index(tmp_path, cli):
    write_corpus(tmp_path / "source", "a.jsonl", range(3))
    build_inline(tmp_path / "source", tmp_path / "memory", {"words": {"type": "bm25"}})
    path = write_jsonl(tmp_path / "queries.jsonl", [{"id": "a", "question": "b"}])
    ran = cli("overlap", tmp_path / "memory", "words", "--queries", path)
    assert ran.code == 2 and "name one of type ngram; there are: none" in ran.err
