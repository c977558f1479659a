"""The hnswlib engine."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.dense.engine import GRAPH_GRID, GRAPH_LIMIT, keep_allowed, widened
from mnemodex.indexers.dense.threads import use_threads
from mnemodex.schemas.errors import CorruptFileError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from mnemodex.indexers.dense.settings import Metric, VectorSettings

FILE = "index.hnsw"


class HnswlibEngine:
    """A graph of hnswlib. It cannot be mapped: opening one reads it into memory."""

    parameter = "ef"
    grid = GRAPH_GRID
    limit = GRAPH_LIMIT

    def __init__(self, index: Any, metric: Metric) -> None:
        self._index = index
        self._metric = metric

    @classmethod
    def create(cls, settings: VectorSettings, rows: int, dimension: int) -> HnswlibEngine:
        """An empty graph with room for `rows`; all its memory is taken now."""
        import hnswlib

        index = hnswlib.Index(space=settings.metric, dim=dimension)
        index.init_index(
            max_elements=max(1, rows), M=settings.m, ef_construction=settings.ef_construction, random_seed=settings.seed
        )
        return cls(index, settings.metric)

    @classmethod
    def open(cls, folder: Path, metric: Metric, dimension: int, *, ef: int | None) -> HnswlibEngine:
        """Read the graph of a shard, whose checksum the caller has verified.

        Args:
            folder: of the shard.
            metric: as it was built with; the file does not say.
            dimension: likewise, but checked.
            ef: candidates that a search keeps if it does not ask for more.

        Raises:
            CorruptFileError: the file is no graph of this dimension.
        """
        import hnswlib

        path = folder / FILE
        stored = _stored_dimension(path)
        if stored != dimension:
            raise CorruptFileError(
                f"{path}: holds vectors of {stored} dimensions, not {dimension}; build the index again"
            )
        index = hnswlib.Index(space=metric, dim=dimension)
        try:
            index.load_index(str(path))
        except RuntimeError as error:
            raise CorruptFileError(f"{path}: hnswlib cannot read it ({error}); build the index again") from error
        if ef is not None:
            index.set_ef(ef)
        return cls(index, metric)

    @property
    def rows(self) -> int:
        """Vectors in the index."""
        return int(self._index.element_count)

    @property
    def dimension(self) -> int:
        """Of the vectors."""
        return int(self._index.dim)

    def batch_rows(self, rows: int) -> int | None:
        """Hnswlib inserts the rows of a batch in their order."""
        return None

    def add(self, blocks: Iterable[NDArray[np.float32]]) -> None:
        """Add matrices of shape (n, dimension)."""
        for block in blocks:
            labels = np.arange(self.rows, self.rows + len(block))
            self._index.add_items(block, labels, num_threads=use_threads())

    def search(
        self, queries: NDArray[np.float32], k: int, *, parameter: int | None, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See `Engine.search`. Rows are left out by looking for more and dropping them.

        Hnswlib keeps max(ef, k) candidates, and ef belongs to the index, which other threads may be searching: a wider
        search asks for more hits instead and drops the surplus.
        """
        breadth = max(k, parameter or 0)
        if allowed is not None:
            breadth = widened(breadth, allowed, self.rows)
        fetch = k if allowed is None and breadth <= max(k, self._index.ef) else min(breadth, self.rows)
        distances, positions = self._query(queries, fetch)
        scores = np.float32(1) - distances if self._metric == "ip" else -distances
        if allowed is not None:
            return keep_allowed(scores, positions, allowed, k)
        return scores[:, :k], positions[:, :k]

    def _query(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The distances and positions of k hits; a query that reaches fewer has none at all (infinity and -1)."""
        try:
            positions, distances = self._index.knn_query(queries, k=k, num_threads=use_threads())
        except RuntimeError:
            # Hnswlib fails a whole batch when one query reaches fewer than k rows, as among many copies of one vector.
            if len(queries) == 1:
                return np.full((1, k), np.inf, dtype=np.float32), np.full((1, k), -1, dtype=np.int64)
            answers = [self._query(query[None], k) for query in queries]
            return np.concatenate([a[0] for a in answers]), np.concatenate([a[1] for a in answers])
        return distances, positions.astype(np.int64)

    def save(self, folder: Path) -> None:
        """Write `index.hnsw`.

        Raises:
            OSError: it was not written to its end, which hnswlib does not say.
        """
        path = folder / FILE
        self._index.save_index(str(path))
        size = self._index.index_file_size()
        if path.stat().st_size != size:
            raise OSError(errno.ENOSPC, f"only {path.stat().st_size} of {size} bytes could be written", str(path))


def _stored_dimension(path: Path) -> int:
    """The dimension of the vectors in a file of hnswlib, which itself reads with whatever dimension it is told.

    The header holds the offsets of a node's vector and of what follows it.
    """
    try:
        header = np.fromfile(path, dtype="<u8", count=6)
    except OSError as error:
        raise CorruptFileError(f"{path}: cannot be read ({error}); build the index again") from error
    return int(header[4] - header[5]) // 4 if len(header) == 6 else 0
