"""Searching one shard so that no query gets fewer hits than there are."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.dense.exact import exact_search
from mnemodex.indexers.dense.shard import Shard
from mnemodex.indexers.dense.ties import find_ranked
from mnemodex.indexers.dense.vectors import Vectors
from mnemodex.schemas.errors import CorruptFileError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

WIDENING = 4
"""A search that found too few hits is repeated with so many times the parameter."""


class ShardSearcher:
    """One shard, its search parameter, and the vectors that its index was built from.

    Attributes:
        shard: the opened shard.
    """

    def __init__(self, folder: Path, parameter: int | None, vectors: Callable[[str], Path]) -> None:
        """Open the shard; see `DenseSearcher` for the arguments."""
        self.shard = Shard(folder, parameter)
        self._folder = folder
        grid = self.shard.engine.grid
        self._parameter = max(grid, default=None) if parameter is None else parameter
        self._vector_file = vectors

    def search(
        self, queries: NDArray[np.float32], k: int, *, kept: NDArray[np.int64] | None = None, exact: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
        """Find the k best rows of each query.

        Args:
            queries: checked, shape (q, d).
            k: hits a query.
            kept: positions that may be returned; None for all.
            exact: compare with the vectors of `kept` instead of asking the index.

        Returns:
            Scores, chunk ids and positions as `find_ranked` gives them.
        """
        matching = self.shard.header.rows if kept is None else len(kept)
        find = partial(self._find_exactly, kept) if exact else partial(self._find, kept)
        return find_ranked(find, queries, k, matching=matching, ids=self.shard.rows.ids)

    def _find(
        self, kept: NDArray[np.int64] | None, queries: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Ask the index; wider again for queries with fewer than k hits, and in the end exactly."""
        allowed = None
        if kept is not None:
            allowed = np.zeros(self.shard.header.rows, dtype=bool)
            allowed[kept] = True
        engine, parameter = self.shard.engine, self._parameter
        scores, positions = engine.search(queries, k, parameter=parameter, allowed=allowed)
        short = np.flatnonzero(positions[:, -1] < 0)
        while len(short) and parameter is not None and parameter < engine.limit:
            parameter = min(WIDENING * parameter, engine.limit)
            scores[short], positions[short] = engine.search(queries[short], k, parameter=parameter, allowed=allowed)
            short = short[positions[short, -1] < 0]
        if len(short):
            scores[short], positions[short] = self._find_exactly(kept, queries[short], k)
        return scores, positions

    def _find_exactly(
        self, kept: NDArray[np.int64] | None, queries: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Compare the queries with the vectors at the kept positions, which are read in the order of the files."""
        rows = self.shard.rows
        kept = np.arange(len(rows.ids)) if kept is None else kept
        places = self._vectors.starts[rows.partition[kept]] + rows.row[kept]
        front = np.argsort(places)
        blocks = self._vectors.blocks(places[front])
        scores, found = exact_search(queries, blocks, k, metric=self.shard.header.metric)
        return scores, kept[front][found]

    @cached_property
    def _vectors(self) -> Vectors:
        labels, header = self.shard.rows.labels, self.shard.header
        vectors = Vectors([self._vector_file(label) for label in labels], labels, dimension=header.dimension)
        rows = tuple(np.diff(vectors.starts).tolist())
        if rows != header.partition_rows:
            raise CorruptFileError(
                f"{self._folder}: was built from partitions of {header.partition_rows} rows, but their vectors have "
                f"{rows}; build the index again"
            )
        return vectors
