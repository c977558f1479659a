"""Which retriever opens which index type: one line each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from mnemodex.retrievers.base import Retriever
    from mnemodex.retrievers.memory import Memory
    from mnemodex.schemas.manifest import IndexEntry

RETRIEVERS = {
    "dense": "mnemodex.retrievers.dense:DenseRetriever",
    "bm25": "mnemodex.retrievers.bm25:BM25Retriever",
    "ngram": "mnemodex.retrievers.ngram:NgramIndex",
    "graph": "mnemodex.retrievers.graph.retriever:GraphRetriever",
    "knn_lm": "mnemodex.retrievers.next_token:NextTokenRetriever",
    "hybrid": "mnemodex.retrievers.hybrid:HybridRetriever",
    "seal": "mnemodex.retrievers.seal.retriever:SealRetriever",
}


def open_retriever(memory: Memory, entry: IndexEntry) -> Retriever:
    """The retriever of an index, opened.

    Raises:
        QueryError: this version has none for the index's type.
    """
    place = RETRIEVERS.get(entry.type)
    if place is None:
        msg = (
            f"index {entry.name!r} is of type {entry.type!r}, which this version cannot search; known: "
            f"{', '.join(RETRIEVERS)}"
        )
        raise QueryError(msg)
    module, _, name = place.partition(":")
    retriever: Any = getattr(import_module(module), name)
    return retriever(memory, entry)  # type: ignore[no-any-return]
