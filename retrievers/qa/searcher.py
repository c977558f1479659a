"""Searching the vectors of questions, without those that went with their documents."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.arrays import are_among
from mnemodex.indexers.dense.shard import find_ranked, merge_ranked
from mnemodex.indexers.dense.vectors import exact_search
from mnemodex.retrievers.dense import open_searcher
from mnemodex.schemas.store.columns import numbers

if TYPE_CHECKING:
    import pyarrow as pa

    from mnemodex.indexers.arrays import Float32s, Int64s
    from mnemodex.retrievers.snapshot import Snapshot
    from mnemodex.schemas.manifest import IndexEntry


class CorrectedVectors:
    """The vectors of questions whose answers are others than those in the files.

    Attributes:
        ids: of the questions, int64 of shape (n,), ascending.
        matrix: float32 of shape (n, dimension).
    """

    def __init__(self, snapshot: Snapshot, table: str, dimension: int) -> None:
        rows: pa.Table | None = snapshot.corrections.rows(table)
        self.ids: Int64s = np.zeros(0, np.int64)
        self.matrix: Float32s = np.zeros((0, dimension), np.float32)
        if rows is not None:
            rows = rows.combine_chunks().sort_by("question_id")
            self.ids = numbers(rows["question_id"])
            self.matrix = numbers(rows["vector"].combine_chunks().flatten()).reshape(-1, dimension)


class QuestionSearcher:
    """Searches an index over questions, each by the vector that it has now.

    Attributes:
        dense: the index, with the places of its rows.
    """

    def __init__(self, snapshot: Snapshot, entry: IndexEntry) -> None:
        dimension = snapshot.manifest.encoders[entry.settings["embed"]].dimension
        self._others = CorrectedVectors(snapshot, str(entry.table), dimension)
        hidden = np.union1d(snapshot.corrections.left_out("question_id"), self._others.ids)
        masked = partial(are_among, wanted=hidden) if len(hidden) else None
        self.dense = open_searcher(snapshot, entry, masked)

    def search(self, queries: Float32s, k: int, *, allowed: Int64s | None = None) -> tuple[Float32s, Int64s]:
        """Find the k best questions of each query, among all or those of ascending ids; see `DenseSearcher.search`.

        Returns:
            Scores (float32) and ids (int64) of shape (queries, k), best first; missing ones are -inf and -1.
        """
        rows = np.arange(len(self._others.ids))
        if allowed is not None:
            rows = rows[are_among(self._others.ids, allowed)]
            allowed = allowed[~are_among(allowed, self._others.ids)]
        found = self.dense.search(queries, k, allowed=allowed)
        if not len(rows):
            return found[:2]
        vectors = self._others.matrix[rows]

        def find(queries: Float32s, most: int) -> tuple[Float32s, Int64s]:
            return exact_search(queries, [vectors], most, metric="ip")

        others = find_ranked(find, queries, k, matching=len(rows), ids=self._others.ids[rows])
        return merge_ranked([found, others], np.zeros(2, np.int64), k)[:2]
