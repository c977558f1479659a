"""The probabilities that cosines stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEMPERATURE = 0.05
"""The difference of cosines that makes one thing e times as likely as another."""


def softmax(cosines: NDArray[np.float32]) -> NDArray[np.float64]:
    """Each row as probabilities, at `TEMPERATURE`."""
    powers: NDArray[np.float64] = np.exp(
        (cosines.astype(np.float64) - cosines.max(axis=1, keepdims=True, initial=-1.0)) / TEMPERATURE
    )
    powers /= powers.sum(axis=1, keepdims=True)
    return powers
