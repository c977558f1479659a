"""The vectors of several partitions as one long matrix that stays on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.schemas.errors import CorruptFileError, NotFiniteError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

BLOCK_BYTES = 64 << 20
"""Float32 bytes that are read at a time."""


class Vectors:
    """Rows of several `.npy` matrices, numbered through in the order given, and read by memory map.

    Attributes:
        starts: int64 of shape (partitions + 1,): the number of each partition's first row, and of all rows.
        dimension: columns of every matrix.
    """

    def __init__(self, paths: Sequence[Path], labels: Sequence[str], *, dimension: int) -> None:
        """Map the matrices; nothing is read yet.

        Args:
            paths: `.npy` files of float32 or float16, each of shape (rows, dimension).
            labels: the partitions' names for messages.
            dimension: what the matrices must have as columns.

        Raises:
            CorruptFileError: a file is missing, no such matrix, or of another dimension.
        """
        self.dimension = dimension
        self.starts = np.zeros(len(paths) + 1, dtype=np.int64)
        self._labels = tuple(labels)
        self._matrices = [_open(path, dimension) for path in paths]
        np.cumsum([len(matrix) for matrix in self._matrices], out=self.starts[1:])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read rows, in any order, as float32 of shape (n, dimension).

        The files are read from front to back whatever the order.

        Raises:
            NotFiniteError: one of the vectors holds NaN or infinity.
        """
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        bounds = np.searchsorted(ascending, self.starts)
        out = np.empty((len(rows), self.dimension), dtype=np.float32)
        for partition in np.flatnonzero(np.diff(bounds)):
            span = slice(bounds[partition], bounds[partition + 1])
            local = ascending[span] - self.starts[partition]
            block = self._matrices[partition][local].astype(np.float32, copy=False)
            self._check(block, int(partition), local)
            out[order[span]] = block
        return out

    def blocks(self, rows: NDArray[np.int64], size: int | None = None) -> Iterator[NDArray[np.float32]]:
        """Read rows in the order given, `size` at a time (as many as fill 64 MiB without it)."""
        size = size or max(1, BLOCK_BYTES // (4 * self.dimension))
        for start in range(0, len(rows), size):
            yield self.take(rows[start : start + size])

    def _check(self, block: NDArray[np.float32], partition: int, rows: NDArray[np.int64]) -> None:
        # A sum is finite only if all its terms are, and is several times as fast as looking at each; in single
        # precision
        # it may overflow, so it only saves the closer look.
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(block.sum()):
                return
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            row = int(rows[np.argmin(finite)])
            raise NotFiniteError(
                f"embeddings partition {self._labels[partition]}, row {row}: the vector holds NaN or infinity; "
                "embed again, in bf16 or float32 if the encoder ran in float16"
            )


def _open(path: Path, dimension: int) -> NDArray[np.float32 | np.float16]:
    try:
        matrix: NDArray[np.float32 | np.float16] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CorruptFileError(f"{path}: cannot be read as a matrix ({error}); build the embeddings again") from error
    if matrix.ndim != 2 or matrix.dtype not in (np.float32, np.float16) or matrix.shape[1] != dimension:
        raise CorruptFileError(
            f"{path}: expected float32 or float16 of shape (rows, {dimension}), found {matrix.dtype} of shape "
            f"{matrix.shape}; build the embeddings again"
        )
    return matrix
