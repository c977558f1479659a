"""The highest of many scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def top_k(scores: NDArray[np.floating], k: int, *, ids: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Return the positions of the k highest scores, highest first.

    Args:
        scores: shape (n,).
        k: how many.
        ids: int64 of shape (n,), ascending among equal scores; their positions by default.

    Returns:
        int64 of shape (min(k, n),).
    """
    if k < len(scores):
        limit = np.partition(scores, len(scores) - k)[len(scores) - k] if k else np.inf
        candidates = np.flatnonzero(scores >= limit)
    else:
        candidates = np.arange(len(scores))
    order = candidates if ids is None else ids[candidates]
    return candidates[np.lexsort((order, -scores[candidates]))[:k]]
