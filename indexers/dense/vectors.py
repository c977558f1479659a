"""The vectors of several partitions as one long matrix on disk, exact search over it, and exact scores of pairs."""

from __future__ import annotations

import mmap
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.arrays import UNREADABLE
from mnemodex.indexers.dense.devices import use_threads
from mnemodex.indexers.dense.factory import faiss_metric
from mnemodex.schemas.errors import CorruptFileError, NotFiniteError, reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mnemodex.indexers.arrays import Array, Float32s, Float64s, Int64s
    from mnemodex.indexers.base import InputPartition
    from mnemodex.indexers.vector_settings import Metric

BLOCK_BYTES = 64 << 20
"""Float32 bytes that are read at a time."""

_MOST_OPEN = 128
"""Files of vectors that are mapped at once."""

_GPU_MOST_K = 2048
"""FAISS's limit of k on a GPU."""


class Vectors:
    """Rows of several `.npy` matrices, numbered through in the order given, and read by memory map.

    They are float32 or float16 of shape (rows, dimension), others are a `CorruptFileError`; messages name the labels.

    Args:
        paths: the matrices.
        labels: of their partitions.
        dimension: of the vectors.
        first: of each matrix the row that is counted first; 0 by default.
        scattered: whether few rows are read at a time, so that the system should not read on behind each.

    Attributes:
        starts: int64 of shape (partitions + 1,): the number of each partition's first row, and of all rows.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        labels: Sequence[str],
        *,
        dimension: int,
        first: Sequence[int] = (),
        scattered: bool = False,
    ) -> None:
        self.dimension = dimension
        self.starts = np.zeros(len(paths) + 1, dtype=np.int64)
        self._labels = tuple(labels)
        self._first = tuple(first) or (0,) * len(paths)
        self._paths = tuple(paths)
        self._scattered = scattered
        # A mapped file keeps its descriptor.
        self._matrix = lru_cache(maxsize=_MOST_OPEN)(self._open)
        np.cumsum([len(self._matrix(number)) for number in range(len(paths))], out=self.starts[1:])

    @classmethod
    def of(cls, partitions: Sequence[InputPartition], *, dimension: int) -> Vectors:
        """Return the vectors of partitions, of each from its row `start` on."""
        paths, labels = [part.files["npy"] for part in partitions], [part.label for part in partitions]
        return cls(paths, labels, dimension=dimension, first=[part.start for part in partitions])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def take(self, rows: Int64s) -> Float32s:
        """Read rows, in any order, as float32 of shape (n, dimension); the files are read from front to back.

        A vector that holds NaN or infinity is a `NotFiniteError`.
        """
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        if len(rows) and not (ascending[0] >= 0 and ascending[-1] < len(self)):
            raise CorruptFileError(
                f"the vectors of {len(self)} rows have no row {ascending[-1]}, which an index names; build it again"
            )
        bounds = np.searchsorted(ascending, self.starts)
        vectors = np.empty((len(rows), self.dimension), dtype=np.float32)
        for partition in np.flatnonzero(np.diff(bounds)):
            span = slice(bounds[partition], bounds[partition + 1])
            local = ascending[span] - self.starts[partition]
            block = self._matrix(int(partition))[local].astype(np.float32, copy=False)
            self._check(block, int(partition), local)
            vectors[order[span]] = block
        return vectors

    def sample(self, count: int, *, seed: int) -> Float32s:
        """Read the rows of `sample_rows`."""
        return self.take(sample_rows(len(self), count, seed=seed))

    def blocks(self, rows: Int64s, size: int | None = None) -> Iterator[Float32s]:
        """Read rows in the order given, `size` at a time (as many as fill 64 MiB without it)."""
        size = size or max(1, BLOCK_BYTES // (4 * self.dimension))
        for start in range(0, len(rows), size):
            yield self.take(rows[start : start + size])

    def _open(self, partition: int) -> Array:
        matrix = open_matrix(self._paths[partition], self.dimension)
        if self._scattered and isinstance(matrix.base, mmap.mmap):
            matrix.base.madvise(mmap.MADV_RANDOM)
        return matrix[self._first[partition] :]

    def _check(self, block: Float32s, partition: int, rows: Int64s) -> None:
        # A sum is finite only if all its terms are, and is several times as fast as looking at each; in single
        # precision it may overflow, so it only saves the closer look.
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(block.sum()):
                return
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            row = rows[np.argmin(finite)] + self._first[partition]
            raise NotFiniteError(
                f"embeddings partition {self._labels[partition]}, row {row}: the vector holds NaN or infinity; embed "
                "again, in bf16 or float32 if the encoder ran in float16"
            )


def open_matrix(path: Path, dimension: int) -> Array:
    """Map a matrix of vectors, float32 or float16 of shape (n, dimension); another one is a `CorruptFileError`."""
    try:
        matrix: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, *UNREADABLE) as error:
        raise CorruptFileError(
            f"{path}: cannot be read as a matrix ({reason(error)}); build the embeddings again"
        ) from error
    if matrix.ndim != 2 or matrix.dtype not in (np.float32, np.float16) or matrix.shape[1] != dimension:
        raise CorruptFileError(
            f"{path}: expected float32 or float16 of shape (rows, {dimension}), found {matrix.dtype} of shape "
            f"{matrix.shape}; build the embeddings again"
        )
    return matrix


def exact_search(
    queries: Float32s, blocks: Iterable[Float32s], k: int, *, metric: Metric, gpu: bool = False
) -> tuple[Float32s, Int64s]:
    """Find the k best rows of each query, of shape (q, d), block by block; together the blocks have k rows at least.

    Return scores (higher is better) and row numbers over all blocks, both of shape (q, k), best first. With `gpu` the
    GPUs are used, if there are any; they take a moment to start, which pays for many queries only.
    """
    from faiss.contrib import exhaustive_search

    use_threads()
    # FAISS has no types for its contributed modules.
    search: Any = exhaustive_search.knn_ground_truth
    scores, rows = search(queries, blocks, k, faiss_metric(metric), ngpu=-1 if gpu and k <= _GPU_MOST_K else 0)
    return (scores if metric == "ip" else -scores), rows


def true_scores(queries: Float32s, rows: Int64s, vectors: Vectors, metric: Metric) -> Float64s:
    """Return the exact scores of rows of shape (q, k) for the queries, of shape (q, d); -inf where the row is -1.

    As many queries as fill 64 MiB are compared at a time.
    """
    scores = np.full(rows.shape, -np.inf)
    step = max(1, BLOCK_BYTES // max(1, 8 * rows.shape[1] * vectors.dimension))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        if (some >= 0).any():
            needed, place = np.unique(np.maximum(some, 0), return_inverse=True)
            found = vectors.take(needed)[place.reshape(some.shape)]
            scores[start : start + step] = np.where(
                some >= 0, pair_scores(queries[start : start + step], found, metric), -np.inf
            )
    return scores


def pair_scores(queries: Float32s, vectors: Float32s, metric: Metric) -> Float64s:
    """Return scores in double precision, so that equal vectors get equal scores in whatever batch they are.

    The queries are of shape (q, d), the vectors of shape (q, k, d), and the scores, higher is better, of shape (q, k).
    """
    wide = queries.astype(np.float64)
    if metric == "ip":
        scores: Float64s = np.einsum("qd,qkd->qk", wide, vectors.astype(np.float64))
        return scores
    difference = wide[:, None, :] - vectors
    negated: Float64s = np.einsum("qkd,qkd->qk", difference, difference)
    return -negated


def sample_rows(rows: int, count: int, *, seed: int) -> Int64s:
    """Return `count` of `rows` rows, or all if there are no more, ascending: a uniform sample without replacement."""
    if count >= rows:
        return np.arange(rows, dtype=np.int64)
    return np.sort(np.random.default_rng(seed).choice(rows, count, replace=False, shuffle=False))
