"""Indexes that others are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from mnemodex.retrievers.base import Retriever
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.qa.retriever import QARetriever


def chunk_retriever(memory: Memory, name: str) -> Retriever:
    """Return the retriever of an index, which answers with chunks."""
    retriever = memory.retriever(name)
    return cast("QARetriever", retriever).by_chunk() if memory.kind(name).hits == "pair" else retriever
