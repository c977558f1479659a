"""Folding chunks to documents: a document scores as its best chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.retrievers.hits import MISSING_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.base import Retriever


def search_documents(
    retriever: Retriever, queries: Sequence[str], k: int, *, where: str | None = None
) -> list[list[tuple[str, float]]]:
    """The first k documents of each query with their scores.

    Chunks are over-fetched until there are so many documents, or no more chunks.
    """
    depth = k
    while True:
        hits = retriever.search(queries, depth, where=where)
        exhausted = (hits.ids == MISSING_ID).any(axis=1)
        documents = hits.document_ids()
        enough = np.array([len(np.unique(row[row != MISSING_ID])) >= k for row in documents], bool)
        if (exhausted | enough).all():
            return [answer[:k] for answer in hits.documents()]
        depth *= 2
