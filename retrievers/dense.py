"""Dense search: questions are encoded by the model that the index was built with."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from mnemodex.indexers.dense.searcher import DenseSearcher
from mnemodex.indexers.encoders.base import normalize
from mnemodex.retrievers.base import Retriever, check_k, is_blank
from mnemodex.retrievers.hits import Hits

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnemodex.indexers.arrays import Bools, Float32s, Int64s
    from mnemodex.indexers.vector_settings import Metric
    from mnemodex.retrievers.hits import Reason
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.snapshot import Snapshot
    from mnemodex.schemas.manifest import IndexEntry


def open_searcher(
    snapshot: Snapshot, entry: IndexEntry, masked: Callable[[Int64s], Bools] | None = None
) -> DenseSearcher:
    """Open the shards of an index over the vectors of a table.

    `masked` says of ids which are no hits, see `DenseSearcher`; by default tombstones say it of chunks.
    """
    vectors = partial(snapshot.path, str(entry.table), ending=".npy")
    if masked is None and entry.masked:
        masked = partial(snapshot.tombstones.mask, "chunk_id")
    search = entry.search
    return DenseSearcher(snapshot.shards(entry), search.value, vectors=vectors, refine=search.refine, masked=masked)


class DenseRetriever(Retriever):
    """Searches the vectors of chunks; raises `ModelError` if the model is not the one that the index was built with."""

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        self.name = entry.name
        self._memory = memory
        self._embedding: str = entry.settings["embed"]
        self._metric: Metric = entry.settings["metric"]
        self._searcher = open_searcher(memory.snapshot, entry)
        encoder = memory.snapshot.manifest.encoders[self._embedding]
        self._encodes = encoder.encodes
        # An encoder gives questions the length that it gives passages.
        self._normalizes = encoder.settings.get("encoder") == "file" and encoder.settings.get("normalize") is True

    @override
    def find(self, questions: list[str], k: int, where: str | None) -> Hits:
        vectors = self._memory.encoder(self._embedding).encode_queries(questions)
        blank = np.array([is_blank(question) for question in questions], np.bool_)
        return self._explained(self._nearest(vectors, k, where).without(blank), vectors)

    def search_vectors(self, vectors: Float32s, k: int = 10, *, where: str | None = None) -> Hits:
        """As `search`, for questions that are vectors already: float32 of shape (queries, dimension)."""
        if self._normalizes:
            vectors = normalize(self._searcher.checked(vectors))
        return self._explained(self._nearest(vectors, k, where), vectors)

    def _nearest(self, vectors: Float32s, k: int, where: str | None) -> Hits:
        check_k(k)
        allowed = None if where is None else self._memory.ids_where(where)
        scores, _, numbers = self._searcher.search(vectors, k, allowed=allowed)
        rows = self._searcher.rows.at(numbers)
        return Hits(rows.ids, scores, rows.partition, rows.row, rows.labels, self._memory.snapshot)

    def _explained(self, hits: Hits, vectors: Float32s) -> Hits:
        """Return hits that explain themselves by the sentence of each that is nearest to its question."""

        def explain() -> list[list[list[Reason]]]:
            from mnemodex.retrievers.sentences import nearest_sentences

            texts = [[(chunk.title, chunk.text) for chunk in row] for row in hits.chunks()]
            nearest = nearest_sentences(self._memory.encoder(self._embedding), vectors, texts, self._metric)
            return [[[reason] for reason in row] for row in nearest]

        return replace(hits, explain=explain) if self._encodes else hits
