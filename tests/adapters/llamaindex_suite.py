"""What our retriever for LlamaIndex promises. Run by `tests/slow/test_adapter_suites.py`."""

from __future__ import annotations

import asyncio

import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import QueryBundle
from served import awaited, connected, opened

from mnemodex.retrievers.adapters.llamaindex import MnemodexRetriever
from mnemodex.schemas.errors import UserError

QUERY = "apples in straw"


@pytest.fixture(params=[opened, connected])
def memory(request):
    return request.param()


def shown(nodes):
    return [(node.node_id, node.text, node.score, node.metadata) for node in nodes]


def test_a_node_is_a_hit(memory):
    (found,) = MnemodexRetriever(memory, "words", k=1).retrieve(QUERY)
    (chunk,) = opened().retriever("words").search([QUERY], 1)[0]
    assert (found.node_id, found.text, found.score) == (str(chunk.chunk_id), chunk.text, pytest.approx(chunk.score))
    assert (found.node.start_char_idx, found.node.end_char_idx) == (chunk.start, chunk.end)
    assert found.node.source_node.node_id == found.metadata["key"] == chunk.key
    assert found.metadata["snapshot"] == "000001" and found.metadata["chunk_id"] == str(chunk.chunk_id)
    assert chunk.metadata.items() <= found.metadata.items()


def test_it_is_a_retriever_that_takes_bundles_and_is_awaited(memory):
    retriever = MnemodexRetriever(memory, "both", k=3)
    assert isinstance(retriever, BaseRetriever)
    nodes = retriever.retrieve(QueryBundle(QUERY))
    assert len(nodes) == 3
    assert shown(asyncio.run(retriever.aretrieve(QUERY))) == shown(nodes)


def test_a_filter_restricts_the_nodes(memory):
    nodes = MnemodexRetriever(memory, "words", where="d.key = 'mill-1'").retrieve("the mill")
    assert {node.metadata["key"] for node in nodes} == {"mill-1"}


def test_pairs_have_their_question_and_answers(memory):
    nodes = MnemodexRetriever(memory, "asked", k=3).retrieve(QUERY)
    assert all(node.metadata["question"] and node.metadata["answers"] for node in nodes) and len(nodes) == 3


def test_an_awaited_memory_is_awaited():
    async def ask():
        retriever = MnemodexRetriever(await awaited(), "words", k=2)
        with pytest.raises(UserError, match=r"mnemodex\.connect"):
            retriever.retrieve(QUERY)
        return await retriever.aretrieve(QUERY)

    assert shown(asyncio.run(ask())) == shown(MnemodexRetriever(opened(), "words", k=2).retrieve(QUERY))
