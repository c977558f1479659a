"""Numbers of things by their ids, for many ids in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.arrays import frozen
from mnemodex.indexers.compiled import kernel

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Int64s

_BITS = 63
"""Of an id, which is a hash and not negative."""


class Numbering:
    """The numbers of ids among some in ascending order, int64 of shape (ids,).

    A binary search of a million ids misses the cache some ten times. Ids are hashes, so that their first bits say
    nearly where they are (in the manner of an interpolation search: Peterson, 1957).
    """

    def __init__(self, ids: Int64s) -> None:
        self._ids = frozen(ids)
        self._shift = _BITS - len(ids).bit_length()
        bounds = np.arange((1 << len(ids).bit_length()) + 1, dtype=np.uint64) << np.uint64(self._shift)
        self._starts = np.searchsorted(ids.view(np.uint64), bounds).astype(np.int64)

    def __call__(self, wanted: Int64s) -> Int64s:
        """Return the numbers of ids that are among them, int64 of the same shape."""
        return _find(self._ids, self._starts, self._shift, frozen(np.ascontiguousarray(wanted, np.int64)))


@kernel
def _find(ids: Int64s, starts: Int64s, shift: int, wanted: Int64s) -> Int64s:
    found = np.empty(len(wanted), np.int64)
    for place in range(len(wanted)):
        # No id is negative; where a damaged table has one, it must not lead out of the array.
        value = max(wanted[place], 0)
        bucket = value >> shift
        first, last = starts[bucket], starts[bucket + 1]
        while first < last:
            middle = (first + last) >> 1
            if ids[middle] < value:
                first = middle + 1
            else:
                last = middle
        found[place] = first
    return found
