"""Searching the shards of a dense index as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.dense.shard import Shard, merge_ranked
from mnemodex.indexers.rows import ShardRows
from mnemodex.schemas.errors import CorruptFileError, QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mnemodex.indexers.arrays import Bools, Float32s, Int64s

EXACT_SHARE = 0.1
"""Filters that keep no more of the rows are answered exactly: at 10 % a filtered graph has lost 3 points of recall, at
1 % 30, and reading the kept rows was faster than the graph at every share tried (0.3 to 30 %)."""

EXACT_ROWS = 50_000
"""Filters that keep no more rows than this are answered exactly too: 77 MB of 384 dimensions."""


class DenseSearcher:
    """Answers batches of vectors from all shards of an index; may be shared by threads.

    FAISS indexes and row tables are mapped, so opening is quick and takes no memory; hnswlib graphs are read into
    memory. A file that cannot be read, or does not agree with `shard.json`, is a `CorruptFileError`.

    Args:
        shards: folders that `DenseIndexer.build` or `merge` wrote, whose checksums the caller has verified.
        parameter: value of the search parameter, as measured (`Recall.value`); None for an index without one, else the
            largest value that is tried when measuring.
        vectors: gives the `.npy` file of an embedding partition by its label. It is asked when a search first has to be
            exact, so files that are never needed need not be checked.
        refine: so many times as many hits as are wanted are compared by their vectors (`Recall.refine`); None for the
            index's own scores.
        masked: says of ids, int64 of shape (n,), which are no hits of any search; None where all may be.

    Attributes:
        rows: of all shards, whose partitions are those of embeddings.
    """

    def __init__(
        self,
        shards: Sequence[Path],
        parameter: int | None,
        *,
        vectors: Callable[[str], Path],
        refine: int | None = None,
        masked: Callable[[Int64s], Bools] | None = None,
    ) -> None:
        self._shards = [Shard(folder, parameter, vectors, refine) for folder in shards]
        if masked is not None:
            for shard in self._shards:
                shard.leave_out(masked(shard.rows.ids))
        if len({(shard.header.dimension, shard.header.metric) for shard in self._shards}) != 1:
            raise CorruptFileError(
                "an index needs at least one shard, and all of one dimension and metric; build it again"
            )
        self.dimension = self._shards[0].header.dimension
        self.rows = ShardRows([shard.rows for shard in self._shards])

    def search(self, queries: Float32s, k: int, *, allowed: Int64s | None = None) -> tuple[Float32s, Int64s, Int64s]:
        """Find the k best chunks of each query, of shape (q, d), among all or those of the ascending ids `allowed`.

        There are never fewer than k hits while k rows match: a search that found too few is widened, in the end to all
        rows.

        Returns:
            Scores (float32; inner product, or the negated squared distance), chunk ids and numbers in `rows` (int64),
            of shape (q, k), best first and equal scores by rising chunk id. Missing places are -inf and -1.

        Raises:
            QueryError: the queries are of another dimension or not finite, or k is below 1.
        """
        # FAISS does not take NumPy's integers.
        queries, k = self.checked(queries, k), int(k)
        if allowed is None:
            return merge_ranked([shard.search(queries, k) for shard in self._shards], self.rows.first[:-1], k)
        positions = [shard.find(allowed) for shard in self._shards]
        # One decision for all shards: an index over codes only estimates scores, which do not mix with exact ones.
        exact = sum(map(len, positions)) <= max(EXACT_SHARE * len(self.rows), EXACT_ROWS)
        answers = [
            shard.search(queries, k, allowed=rows, exact=exact)
            for shard, rows in zip(self._shards, positions, strict=True)
        ]
        return merge_ranked(answers, self.rows.first[:-1], k)

    def find(self, ids: Int64s) -> Int64s:
        """Return the numbers of rows by ids of any shape; -1 where there is no such row."""
        numbers = np.full(ids.shape, -1, dtype=np.int64)
        for shard, first in zip(self._shards, self.rows.first[:-1], strict=True):
            positions = shard.positions(ids)
            numbers = np.where(positions >= 0, positions + first, numbers)
        return numbers

    def checked(self, queries: Float32s, k: int = 1) -> Float32s:
        """Return queries as FAISS takes them, or raise the errors of `search`."""
        if k < 1:
            raise QueryError(f"k is {k}: ask for at least one hit")
        if not isinstance(queries, np.ndarray) or queries.dtype.kind not in "fiu":
            kind = f"array of {queries.dtype}" if isinstance(queries, np.ndarray) else type(queries).__name__
            raise QueryError(
                f"queries are a {kind}; give a float32 array of shape (queries, {self.dimension}), as "
                "np.asarray(vectors, np.float32) makes it of a list of vectors"
            )
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise QueryError(
                f"queries have shape {queries.shape}, but the index holds vectors of {self.dimension} dimensions; "
                "encode them with the model that the index was built with"
            )
        finite = np.isfinite(queries).all(axis=1)
        if not finite.all():
            raise QueryError(f"query {int(np.argmin(finite))}: its vector holds NaN or infinity")
        return np.ascontiguousarray(queries, dtype=np.float32)
