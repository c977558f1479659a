"""What adapters for other libraries make of hits, and what they say where the library is missing."""

from __future__ import annotations

import asyncio
import importlib
import sys

import pytest

from mnemodex.retrievers.adapters.passages import Search
from mnemodex.schemas.errors import MissingExtraError, UserError

QUERY = "apples in straw"


@pytest.fixture(params=["memory", "connected"])
def searched(request):
    return request.getfixturevalue(request.param)


def test_a_passage_is_a_chunk_with_what_is_known_of_it(memory, searched):
    passages = Search(searched, "words", 2, None).passages(QUERY)
    for passage, chunk in zip(passages, memory.retriever("words").search([QUERY], 2)[0], strict=True):
        assert (passage.id, passage.text, passage.score) == (str(chunk.chunk_id), chunk.text, chunk.score)
        assert (passage.start, passage.end) == (chunk.start, chunk.end)
        ours = {"key": chunk.key, "chunk_id": passage.id, "score": chunk.score, "title": chunk.title}
        assert passage.metadata == {**chunk.metadata, **ours, "index": "words", "snapshot": "000001"}


def test_a_filter_restricts_passages_and_waiting_memories_are_asked_in_a_thread(searched):
    search = Search(searched, "words", 3, "d.key = 'mill-1'")
    assert {passage.metadata["key"] for passage in search.passages("the mill")} == {"mill-1"}
    assert asyncio.run(search.apassages("the mill")) == search.passages("the mill")


def test_pairs_are_passages_with_question_and_answers(memory, searched):
    passages = Search(searched, "asked", 20, None).passages(QUERY)
    pairs = memory.retriever("asked").search([QUERY], 20).pairs()[0]
    assert [passage.metadata["question"] for passage in passages] == [pair.question for pair in pairs]
    for passage, pair in zip(passages, pairs, strict=True):
        assert passage.metadata["answers"] == list(pair.answers)
        assert passage.text == (pair.chunk.text if pair.chunk is not None else "; ".join(pair.answers))
        assert passage.id == str(pair.chunk.chunk_id if pair.chunk is not None else pair.question_id)


def test_a_memory_that_is_awaited_is_asked_by_those_who_await(awaited, memory):
    search = Search(awaited._inner, "words", 2, None)
    with pytest.raises(UserError, match=r"Use the retriever's `a` methods, or mnemodex\.connect"):
        search.passages(QUERY)
    assert awaited._runner.run(search.apassages(QUERY)) == Search(memory, "words", 2, None).passages(QUERY)


@pytest.mark.parametrize(
    ("extra", "module", "package"),
    [("langchain", "langchain_core", "langchain-core"), ("llamaindex", "llama_index", "llama-index-core")],
)
def test_a_missing_library_is_named_with_its_extra(monkeypatch, extra, module, package):
    adapter = f"mnemodex.retrievers.adapters.{extra}"
    monkeypatch.delitem(sys.modules, adapter, raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == module] + [module]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"needs the package '{package}': pip install 'mnemodex\[{extra}\]'"):
        importlib.import_module(adapter)
