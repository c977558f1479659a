"""The indexers by recipe type: one line each."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mnemodex.schemas.errors import RecipeError

if TYPE_CHECKING:
    from mnemodex.indexers.base import Indexer

INDEXERS = {
    "dense": "mnemodex.indexers.dense.indexer:DenseIndexer",
    "bm25": "mnemodex.indexers.bm25:BM25Indexer",
    "ngram": "mnemodex.indexers.ngram.indexer:NgramIndexer",
    "graph": "mnemodex.indexers.graph.indexer:GraphIndexer",
    "knn_lm": "mnemodex.indexers.knn_lm:KnnLmIndexer",
    "hybrid": "mnemodex.indexers.hybrid:HybridIndexer",
    "seal": "mnemodex.indexers.seal:SealIndexer",
}


def indexer_class(kind: Any) -> Any:
    """The indexer of a recipe type, which is what the user wrote and may be anything.

    Raises:
        RecipeError: there is no such type.
    """
    place = INDEXERS.get(kind) if isinstance(kind, str) else None
    if place is None:
        near = difflib.get_close_matches(str(kind), INDEXERS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(INDEXERS)}"
        msg = f"unknown index type {kind!r}; {hint}"
        raise RecipeError(msg)
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def make_indexer(type: str, settings: dict[str, Any], rows: int, dimension: int) -> Indexer:
    """An indexer over a table of so many rows (and for vectors, numbers a row)."""
    found = indexer_class(type)
    made: Indexer = found(found.Settings.model_validate(settings), rows, dimension)
    return made
