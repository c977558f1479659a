"""Means with intervals, as the tables of episodes print them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_Z = 1.959964
_SAMPLES = 2000


def interval(values: Sequence[float]) -> str:
    """Return the mean of some values, with its bootstrapped interval at 95 %."""
    if not values:
        return "none"
    array = np.asarray(values, np.float64)
    picked = np.random.default_rng(0).integers(len(array), size=(_SAMPLES, len(array)))
    low, high = np.quantile(array[picked].mean(axis=1), (0.025, 0.975))
    return f"{array.mean():.3f} [{low:.3f}, {high:.3f}]"


def share(right: float, trials: int) -> str:
    """Return a share with Wilson's interval at 95 %."""
    part, square = right / trials, _Z * _Z / trials
    center = (part + square / 2) / (1 + square)
    half = _Z / (1 + square) * np.sqrt(part * (1 - part) / trials + square / (4 * trials))
    return f"{part:.4f} [{center - half:.4f}, {center + half:.4f}]"
