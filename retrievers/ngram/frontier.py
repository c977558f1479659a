"""What may follow many ranges at once, as a decoder asks it at every step: most of it is known already."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.ngram.answers import Continuations, offsets_of
from mnemodex.indexers.ngram.ragged import spans

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnemodex.indexers.ngram.index import FMIndex

_WIDE = 256
"""Rows of a range that are worth remembering: it is short, so that other beams and questions come to it too."""

_KEPT = 1 << 22
"""Tokens that are remembered: 64 MB."""


class Frontier:
    """Continuations of an index's ranges, each range looked up once; those of wide ranges are kept for later calls.

    Args:
        index: the index.
    """

    def __init__(self, index: FMIndex) -> None:
        self._index = index
        self._kept: OrderedDict[bytes, tuple[NDArray[np.int64], NDArray[np.int64]]] = OrderedDict()
        self._size = 0

    def continuations(self, ranges: NDArray[np.int64]) -> Continuations:
        """As `FMIndex.continuations`."""
        flat = np.ascontiguousarray(ranges).reshape(len(ranges), 2 * ranges.shape[1])
        # One opaque value a row sorts many times as fast as rows of numbers.
        _, first, place = np.unique(flat.view(f"V{flat.shape[1] * 8}")[:, 0], return_index=True, return_inverse=True)
        found = self._look_up(ranges[first])
        lengths = np.diff(found.offsets)
        chosen = spans(found.offsets[:-1][place], lengths[place])
        offsets = offsets_of(lengths[place])
        return Continuations(offsets, found.tokens[chosen], found.counts[chosen])

    def _look_up(self, ranges: NDArray[np.int64]) -> Continuations:
        """Continuations of different ranges."""
        wide = np.flatnonzero((ranges[:, :, 1] - ranges[:, :, 0]).sum(axis=1) > _WIDE)
        names = {int(row): ranges[row].tobytes() for row in wide}
        known = {row: self._kept[name] for row, name in names.items() if name in self._kept}
        for row in known:
            self._kept.move_to_end(names[row])
        asked = np.setdiff1d(np.arange(len(ranges)), list(known))
        found = self._index.continuations(ranges[asked])
        parts = {
            int(row): (found.tokens[start:stop], found.counts[start:stop])
            for row, start, stop in zip(asked, found.offsets[:-1], found.offsets[1:], strict=True)
        }
        for row in names.keys() - known.keys():
            self._keep(names[row], parts[row])
        parts.update(known)
        tokens, counts = zip(*(parts[row] for row in range(len(ranges))), strict=True) if len(ranges) else ((), ())
        none = np.empty(0, np.int64)
        lengths = np.array([len(some) for some in tokens], np.int64)
        offsets = offsets_of(lengths)
        return Continuations(offsets, np.concatenate([*tokens, none]), np.concatenate([*counts, none]))

    def _keep(self, name: bytes, part: tuple[NDArray[np.int64], NDArray[np.int64]]) -> None:
        # Copies: a slice would keep all that was found in the same call.
        self._kept[name] = (part[0].copy(), part[1].copy())
        self._size += len(part[0])
        while self._size > _KEPT:
            _, (tokens, _) = self._kept.popitem(last=False)
            self._size -= len(tokens)
