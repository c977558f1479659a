"""Neighbours of many tokens in files, since they are more than memory may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.retrievers.readers.knn_lm.mixing import nearest_distance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from mnemodex.retrievers.datastore import Neighbours

ENTRIES = 1 << 21
"""Neighbours that are in memory at once."""


def batches(rows: int, k: int) -> Iterator[slice]:
    """Slices of rows whose neighbours fit into memory together."""
    step = max(ENTRIES // k, 1)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


class NeighbourFiles:
    """Distances and values of n tokens' neighbours, as files that are written by rows.

    Args:
        folder: where they are.
        rows: n.
        k: neighbours of each.
    """

    def __init__(self, folder: Path, rows: int, k: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._distances: Any
        self._values: Any
        self._distances, self._values = (
            np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=kind, shape=(rows, k))
            for name, kind in (("distances", np.float32), ("values", np.int32))
        )

    def put(self, rows: NDArray[np.int64], found: Neighbours) -> None:
        """Write the neighbours of some tokens, k of each."""
        self._distances[rows] = found.distances
        self._values[rows] = found.tokens

    def clear(self, rows: NDArray[np.bool_]) -> None:
        """Write that some tokens have no neighbours."""
        for part in batches(*self._distances.shape):
            here = part.start + np.flatnonzero(rows[part])
            self._distances[here], self._values[here] = np.inf, -1

    def read(self) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
        """What was written, mapped, and the least distance of each token."""
        nearest = np.empty(len(self._distances), np.float32)
        for part in batches(*self._distances.shape):
            nearest[part] = nearest_distance(self._distances[part])
        return self._distances, self._values, nearest
