"""How similar queries are to questions and answers together, by the vectors that the build made of these."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.arrays import are_among
from mnemodex.indexers.dense.vectors import BLOCK_BYTES, open_matrix, pair_scores
from mnemodex.retrievers.qa.searcher import CorrectedVectors
from mnemodex.schemas.errors import CorruptFileError

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Array, Float32s, Int64s
    from mnemodex.indexers.dense.searcher import DenseSearcher
    from mnemodex.retrievers.snapshot import Snapshot
    from mnemodex.schemas.tables import TableKey

_MOST_OPEN = 128
"""Files of vectors that are mapped at once."""


class AnswerVectors:
    """The vectors of questions with their first answers; may be shared by threads.

    A file is checked and mapped when a question of its partition is first asked for.

    Args:
        snapshot: whose table they are.
        table: that they are in.
        searcher: of the vectors of the questions alone, which are in the same rows of partitions of the same labels:
            both are made of the same texts.
    """

    def __init__(self, snapshot: Snapshot, table: TableKey, searcher: DenseSearcher) -> None:
        self._snapshot = snapshot
        self._table = table.label
        self._searcher = searcher
        self._matrix = lru_cache(maxsize=_MOST_OPEN)(self._open)

    def similarity(self, ids: Int64s, query: Int64s, vectors: Float32s) -> Float32s:
        """Return the inner products of hits: of the vector of each one's query and that of its question and answers.

        Args:
            ids: of the questions of the hits, int64 of shape (hits,).
            query: of each hit, int64 of shape (hits,).
            vectors: of the queries, float32 of shape (queries, dimension).

        Raises:
            CorruptFileError: the memory has no such vectors, or a file of them is damaged.
        """
        rows = self._searcher.rows.at(self._searcher.find(ids))
        scores = np.empty(len(ids), np.float32)
        size = max(1, BLOCK_BYTES // (8 * vectors.shape[1]))
        for number in np.unique(rows.partition).tolist():
            matrix = self._matrix(rows.labels[number])
            hits = np.flatnonzero(rows.partition == number)
            for start in range(0, len(hits), size):
                block = hits[start : start + size]
                answers = matrix[rows.row[block], None]
                scores[block] = pair_scores(vectors[query[block]], answers, "ip")[:, 0]
        others = self._corrected
        changed = np.flatnonzero(are_among(ids, others.ids))
        answers = others.matrix[np.searchsorted(others.ids, ids[changed]), None]
        scores[changed] = pair_scores(vectors[query[changed]], answers, "ip")[:, 0]
        return scores

    @cached_property
    def _corrected(self) -> CorrectedVectors:
        return CorrectedVectors(self._snapshot, self._table, self._searcher.dimension)

    def _open(self, label: str) -> Array:
        if self._table not in self._snapshot.manifest.tables:
            raise CorruptFileError(
                f"{self._snapshot.store.root}: has no table {self._table}, whose vectors answers are chosen by; build "
                "the memory again, with this version"
            )
        return open_matrix(self._snapshot.path(self._table, label, ending=".npy"), self._searcher.dimension)
