"""Rows of many mapped matrices, without a call of Python's for each matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.compiled import array_at, kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnemodex.indexers.arrays import Int64s


@kernel
def gather(addresses: Int64s, starts: Int64s, rows: Int64s, found: NDArray[np.uint16]) -> None:
    """Copy rows of matrices, given by their addresses.

    Args:
        addresses: int64 of shape (matrices,).
        starts: int64 of shape (matrices + 1,): the number of each one's first row, and of all rows.
        rows: ascending.
        found: where they are copied to, as words of 2 bytes, of shape (rows, words of a row).
    """
    width = found.shape[1]
    part = 0
    for place in range(len(rows)):
        while rows[place] >= starts[part + 1]:
            part += 1
        matrix = array_at(addresses[part], (starts[part + 1] - starts[part]) * width, np.uint16)
        first = (rows[place] - starts[part]) * width
        for word in range(width):
            found[place, word] = matrix[first + word]
