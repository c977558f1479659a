"""The hnswlib engine."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from mnemodex.indexers.dense.devices import use_threads
from mnemodex.indexers.dense.engine import GRAPH_GRID, GRAPH_LIMIT, Engine, keep_allowed, widened
from mnemodex.schemas.errors import CorruptFileError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mnemodex.indexers.arrays import Bools, Float32s, Int64s
    from mnemodex.indexers.vector_settings import Metric, VectorSettings

FILE = "index.hnsw"


class HnswlibEngine(Engine):
    """A graph of hnswlib. It cannot be mapped: opening one reads it into memory."""

    parameter = "ef"
    grid = GRAPH_GRID
    limit = GRAPH_LIMIT

    def __init__(self, index: Any, metric: Metric) -> None:
        self._index = index
        self._metric = metric
        self.dimension = int(index.dim)

    @classmethod
    def create(cls, settings: VectorSettings, rows: int, dimension: int) -> HnswlibEngine:
        """Make an empty graph with room for `rows`; all its memory is taken now."""
        import hnswlib

        index = hnswlib.Index(space=settings.metric, dim=dimension)
        index.init_index(
            max_elements=max(1, rows), M=settings.m, ef_construction=settings.ef_construction, random_seed=settings.seed
        )
        return cls(index, settings.metric)

    @classmethod
    def open(cls, folder: Path, metric: Metric, dimension: int, *, ef: int | None) -> HnswlibEngine:
        """Read the graph of a shard, whose checksum the caller has verified.

        The file does not say its metric; a dimension that is not the file's is a `CorruptFileError`. `ef` is the number
        of candidates that a search keeps if it does not ask for more.
        """
        import hnswlib

        # Compiled: a search of FAISS's indexes needs no compiler.
        from mnemodex.indexers.dense.hnswlib_file import check_file

        path = folder / FILE
        check_file(path, dimension)
        index = hnswlib.Index(space=metric, dim=dimension)
        try:
            index.load_index(str(path))
        except RuntimeError as error:
            raise CorruptFileError(f"{path}: hnswlib cannot read it ({error}); build the index again") from error
        if ef is not None:
            index.set_ef(ef)
        return cls(index, metric)

    @property
    @override
    def rows(self) -> int:
        return int(self._index.element_count)

    @override
    def add(self, blocks: Iterable[Float32s]) -> None:
        for block in blocks:
            labels = np.arange(self.rows, self.rows + len(block))
            self._index.add_items(block, labels, num_threads=use_threads())

    @override
    def search(
        self, queries: Float32s, k: int, *, parameter: int | None, allowed: Bools | None = None
    ) -> tuple[Float32s, Int64s]:
        # Hnswlib keeps max(ef, k) candidates, and ef belongs to the index, which other threads may be searching: a
        # wider or filtered search asks for more hits instead and drops the surplus.
        breadth = max(k, parameter or 0)
        if allowed is not None:
            breadth = widened(breadth, allowed, self.rows)
        fetch = k if allowed is None and breadth <= max(k, self._index.ef) else min(breadth, self.rows)
        distances, positions = self._query(queries, fetch)
        scores = np.float32(1) - distances if self._metric == "ip" else -distances
        if allowed is not None:
            return keep_allowed(scores, positions, allowed, k)
        return scores[:, :k], positions[:, :k]

    def _query(self, queries: Float32s, k: int) -> tuple[Float32s, Int64s]:
        """Return the distances and positions of k hits; a query that reaches fewer has none (infinity and -1)."""
        try:
            positions, distances = self._index.knn_query(queries, k=k, num_threads=use_threads())
        except RuntimeError:
            # Hnswlib fails a whole batch when one query reaches fewer than k rows, as among many copies of one vector.
            if len(queries) == 1:
                return np.full((1, k), np.inf, dtype=np.float32), np.full((1, k), -1, dtype=np.int64)
            answers = [self._query(query[None], k) for query in queries]
            return np.concatenate([a[0] for a in answers]), np.concatenate([a[1] for a in answers])
        return distances, positions.astype(np.int64)

    @override
    def save(self, folder: Path) -> None:
        path = folder / FILE
        self._index.save_index(str(path))
        size = self._index.index_file_size()
        # Hnswlib does not say so when it could not write all.
        if path.stat().st_size != size:
            raise OSError(errno.ENOSPC, f"only {path.stat().st_size} of {size} bytes could be written", str(path))
