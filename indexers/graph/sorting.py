"""Sorting edges by their ends: inner loops of the adjacency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def count(degrees: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
    """Add each edge to the degrees of its ends; the degree of node `n` stands at `n + 1`."""
    for edge in range(len(left)):
        if left[edge] != right[edge]:
            degrees[left[edge] + 1] += 1
            degrees[right[edge] + 1] += 1


@kernel
def place(
    free: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    weights: NDArray[np.float32],
    indices: NDArray[np.int32],
    column: NDArray[np.float32],
) -> None:
    """Write each edge to the next free place of either end."""
    for edge in range(len(left)):
        one, other = left[edge], right[edge]
        if one == other:
            continue
        indices[free[one]], column[free[one]] = other, weights[edge]
        indices[free[other]], column[free[other]] = one, weights[edge]
        free[one] += 1
        free[other] += 1


@kernel
def merge(indptr: NDArray[np.int64], indices: NDArray[np.int32], weights: NDArray[np.float32]) -> int:
    """Sort each row and add up what joins the same nodes, in place; `indptr` follows. Returns the elements left."""
    size = start = 0
    for node in range(len(indptr) - 1):
        stop = indptr[node + 1]
        row, values = indices[start:stop].copy(), weights[:, start:stop].copy()
        first = size
        for position in np.argsort(row):
            if size == first or indices[size - 1] != row[position]:
                indices[size] = row[position]
                for kind in range(3):
                    weights[kind, size] = 0
                size += 1
            for kind in range(3):
                weights[kind, size - 1] += values[kind, position]
        start = stop
        indptr[node + 1] = size
    return size
