"""LangChain's own tests of retrievers, and what ours promises besides. Run by `tests/slow/test_adapter_suites.py`."""

from __future__ import annotations

import asyncio

import pytest
from langchain_core.documents import Document
from langchain_tests.integration_tests import RetrieversIntegrationTests
from served import awaited, connected, opened

from mnemodex.retrievers.adapters.langchain import MnemodexRetriever
from mnemodex.schemas.errors import QueryError, UserError

QUERY = "apples in straw"


class TestOpened(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self):
        return MnemodexRetriever

    @property
    def retriever_constructor_params(self):
        return {"memory": opened(), "index": "both"}

    @property
    def retriever_query_example(self):
        return QUERY


class TestConnected(TestOpened):
    @property
    def retriever_constructor_params(self):
        return {"memory": connected(), "index": "words"}


@pytest.mark.parametrize("memory", [opened, connected])
def test_a_document_is_a_hit(memory):
    (document,) = MnemodexRetriever(memory=memory(), index="words", k=1).invoke(QUERY)
    (chunk,) = opened().retriever("words").search([QUERY], 1)[0]
    assert document == Document(
        id=str(chunk.chunk_id),
        page_content=chunk.text,
        metadata={
            **chunk.metadata,
            "title": chunk.title,
            "key": chunk.key,
            "chunk_id": str(chunk.chunk_id),
            "score": chunk.score,
            "index": "words",
            "snapshot": "000001",
        },
    )


def test_a_pair_is_its_passage_with_question_and_answers():
    documents = MnemodexRetriever(memory=opened(), index="asked", k=4).invoke(QUERY)
    pairs = opened().retriever("asked").search([QUERY], 4).pairs()[0]
    assert [document.metadata["question"] for document in documents] == [pair.question for pair in pairs]
    assert [document.metadata["answers"] for document in documents] == [list(pair.answers) for pair in pairs]


def test_a_filter_belongs_to_the_retriever_or_to_a_call():
    where = "d.key = 'mill-1'"
    kept = MnemodexRetriever(memory=opened(), index="words", where=where)
    free = MnemodexRetriever(memory=opened(), index="words")
    assert {document.metadata["key"] for document in kept.invoke("the mill")} == {"mill-1"}
    assert free.invoke("the mill", where=where) == kept.invoke("the mill") != free.invoke("the mill")
    with pytest.raises(QueryError, match="is not a boolean expression"):
        free.invoke("the mill", where="titel = 1")


def test_several_queries_at_once():
    retriever = MnemodexRetriever(memory=opened(), index="words", k=2)
    assert retriever.batch([QUERY, "the mill"]) == [retriever.invoke(QUERY), retriever.invoke("the mill")]


def test_an_awaited_memory_is_awaited():
    async def ask():
        retriever = MnemodexRetriever(memory=await awaited(), index="words", k=2)
        with pytest.raises(UserError, match=r"mnemodex\.connect"):
            retriever.invoke(QUERY)
        return await retriever.ainvoke(QUERY)

    assert asyncio.run(ask()) == MnemodexRetriever(memory=opened(), index="words", k=2).invoke(QUERY)
