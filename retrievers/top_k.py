"""The highest of many scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Floats, Int64s

_STRIDE = 64
"""Scores of which first only the highest is looked at."""


def top_k(scores: Floats, k: int, *, ids: Int64s | None = None) -> Int64s:
    """Return the positions of the k highest of n scores, int64 of shape (min(k, n),), highest first.

    Equal scores are in the order of their ids, int64 of shape (n,), by default of their positions.
    """
    candidates = np.arange(len(scores))
    if 0 < k < len(scores) // _STRIDE:
        # The k-th highest of the strides' maxima is no higher than that of all. numpy partitions equal scores slowly.
        strides = scores[: len(scores) // _STRIDE * _STRIDE].reshape(-1, _STRIDE).max(axis=1)
        candidates = np.flatnonzero(scores >= _kth(strides, k))
    if k < len(candidates):
        candidates = candidates[scores[candidates] >= (_kth(scores[candidates], k) if k else np.inf)]
    order = candidates if ids is None else ids[candidates]
    return candidates[np.lexsort((order, -scores[candidates]))[:k]]


def _kth(scores: Floats, k: int) -> Any:
    """Return the k-th highest score."""
    return np.partition(scores, len(scores) - k)[len(scores) - k]
