"""Memories and hits in an interpreter and a notebook."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="module")
def hits(memory):
    return memory.retriever("words").search(["apples in straw", "rye bread baked twice", "slice of lemon"], 7)


def test_hits_are_indexed_and_iterated_by_query(hits):
    chunks = hits.chunks()
    assert [hits[0], hits[2], hits[-1]] == [chunks[0], chunks[2], chunks[2]]
    assert list(hits) == chunks
    for query in (3, -4):
        with pytest.raises(IndexError, match=f"no query {query}"):
            hits[query]


def test_first_hits_are_those_of_a_smaller_search(hits, memory):
    fewer = memory.retriever("words").search(["apples in straw", "rye bread baked twice"], 2)
    assert (hits.first(2, 2).ids == fewer.ids).all() and np.array_equal(hits.first(2, 2).scores, fewer.scores)


def test_hits_show_their_beginning(hits, memory):
    text = repr(hits)
    first = hits[0][0]
    assert f"[{first.key}]" in text and first.title in text and f"{first.score:.4f}" in text
    assert text.splitlines()[0] == f"<Hits: {(hits.ids >= 0).sum()} of 3 queries, k = 7>"
    assert all(len(line) < 300 for line in text.splitlines()) and len(text.splitlines()) <= 1 + 3 * 5
    html = hits._repr_html_()
    assert "<table>" in html and first.title in html and html.count("<tr>") == len(text.splitlines())
    assert repr(memory.retriever("words").search([])) == "<Hits: 0 of 0 queries, k = 10>"


def test_a_memory_shows_its_indexes(memory, library):
    assert repr(memory).startswith(f"<Memory {library}, snapshot 000001: ") and "words (bm25)" in repr(memory)
    assert "<td>hnswlib</td>" in memory._repr_html_()


def test_texts_are_escaped(hits, monkeypatch):
    from dataclasses import replace

    from mnemodex.retrievers.hits import Hits

    chunk = replace(hits[0][0], title="<script>alert(1)</script>", text="\x1b[2J \u202e & [red]")
    monkeypatch.setattr(Hits, "chunks", lambda self: [[chunk]])
    assert "<script>" not in hits._repr_html_() and "&lt;script&gt;" in hits._repr_html_()
    for shown in (repr(hits), hits._repr_html_()):
        assert "\x1b" not in shown and "\u202e" not in shown and r"\x1b[2J" in shown
