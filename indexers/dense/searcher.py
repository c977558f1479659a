"""Searching the shards of a dense index as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.dense.shard_searcher import ShardSearcher
from mnemodex.indexers.dense.ties import merge_ranked
from mnemodex.schemas.errors import CorruptFileError, QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

EXACT_SHARE = 0.1
"""Filters that keep no more of the rows are answered exactly: at 10 % a filtered graph has lost 3 points of recall, at
1 % 30, and reading the kept rows was faster than the graph at every share tried (0.3 to 30 %)."""

EXACT_ROWS = 50_000
"""Filters that keep no more rows than this are answered exactly too: 77 MB of 384 dimensions."""


class DenseSearcher:
    """Answers batches of vectors from all shards of an index; may be shared by threads.

    FAISS indexes and row tables are mapped, so opening is quick and takes no memory; hnswlib graphs are read into
    memory.

    Attributes:
        rows: vectors in all shards.
        dimension: of the vectors.
        labels: the embedding partitions of all shards, in the numbering of `locate`.
    """

    def __init__(self, shards: Sequence[Path], parameter: int | None, *, vectors: Callable[[str], Path]) -> None:
        """Open the shards, whose checksums the caller has verified.

        Args:
            shards: folders that `DenseIndexer.build` or `merge` wrote.
            parameter: value of the search parameter, as measured (`Recall.value`); None for an index without one, else
                the largest value that is tried when measuring.
            vectors: gives the `.npy` file of an embedding partition by its label. It is asked when a search first has
                to be exact, so files that are never needed need not be checked.

        Raises:
            CorruptFileError: a file cannot be read, or does not agree with `shard.json`.
        """
        self._searchers = [ShardSearcher(folder, parameter, vectors) for folder in shards]
        opened = [searcher.shard for searcher in self._searchers]
        if len({(shard.header.dimension, shard.header.metric) for shard in opened}) != 1:
            raise CorruptFileError(
                "an index needs at least one shard, and all of one dimension and metric; build it again"
            )
        self.dimension = opened[0].header.dimension
        self.rows = sum(shard.header.rows for shard in opened)
        self.labels = tuple(label for shard in opened for label in shard.rows.labels)
        self._first_label = np.cumsum([0, *(len(shard.rows.labels) for shard in opened)])

    def search(
        self, queries: NDArray[np.float32], k: int, *, allowed: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
        """Find the k best chunks of each query.

        There are never fewer than k hits while k rows match: a search that found too few is widened, in the end to all
        rows.

        Args:
            queries: shape (q, d).
            k: hits a query, at least 1.
            allowed: ascending ids of the chunks that may be returned; None for all.

        Returns:
            Scores (float32; inner product, or the negated squared distance), chunk ids (int64), shard numbers (int32)
            and positions in the shard (int64), of shape (q, k), best first and equal scores by rising chunk id. Missing
            places are -inf and -1.

        Raises:
            QueryError: the queries are of another dimension or not finite, or k is below 1.
        """
        queries = self.checked(queries, k)
        return merge_ranked(self._answers(queries, k, allowed), k)

    def locate(
        self, shard: NDArray[np.int32], position: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Where hits stand in the tables.

        Args:
            shard: shard numbers as `search` gives them, of any shape.
            position: positions, of the same shape.

        Returns:
            The number of the partition in `labels` (int32) and the row in it (int64), of the same shape; -1 where
            missing.
        """
        partition = np.full(shard.shape, -1, dtype=np.int32)
        row = np.full(shard.shape, -1, dtype=np.int64)
        for number in np.unique(shard[shard >= 0]):
            here = shard == number
            rows = self._searchers[number].shard.rows
            partition[here] = rows.partition[position[here]] + self._first_label[number]
            row[here] = rows.row[position[here]]
        return partition, row

    def find(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Where rows are, by their ids of any shape: shard numbers and positions, -1 where there is no such row."""
        shard = np.full(ids.shape, -1, dtype=np.int32)
        position = np.full(ids.shape, -1, dtype=np.int64)
        for number, searcher in enumerate(self._searchers):
            places = searcher.shard.place(ids)
            here = places >= 0
            shard[here], position[here] = number, places[here]
        return shard, position

    def checked(self, queries: NDArray[np.float32], k: int = 1) -> NDArray[np.float32]:
        """The queries as FAISS takes them; see `search` for what is refused."""
        if k < 1:
            raise QueryError(f"k is {k}: ask for at least one hit")
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise QueryError(
                f"queries have shape {queries.shape}, but the index holds vectors of {self.dimension} dimensions; "
                "encode them with the model that the index was built with"
            )
        finite = np.isfinite(queries).all(axis=1)
        if not finite.all():
            raise QueryError(f"query {int(np.argmin(finite))}: its vector holds NaN or infinity")
        return np.ascontiguousarray(queries, dtype=np.float32)

    def _answers(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None
    ) -> list[tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]]:
        """The scores, chunk ids and positions that each shard finds."""
        if allowed is None:
            return [searcher.search(queries, k) for searcher in self._searchers]
        kept = [searcher.shard.find(allowed) for searcher in self._searchers]
        # One decision for all shards: an index over codes only estimates scores, which do not mix with exact ones.
        exact = sum(map(len, kept)) <= max(EXACT_SHARE * self.rows, EXACT_ROWS)
        return [
            searcher.search(queries, k, kept=rows, exact=exact)
            for searcher, rows in zip(self._searchers, kept, strict=True)
        ]
