"""The best of scores, and the probabilities that cosines stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEMPERATURE = 0.05
"""The difference of cosines that makes one thing e times as likely as another."""


def best(scores: NDArray[np.floating], k: int) -> NDArray[np.int64]:
    """The places of the k highest scores of each row, highest first; int64 of shape (rows, min(k, columns))."""
    k = min(k, scores.shape[1])
    if k == 0:
        return np.zeros((len(scores), 0), np.int64)
    found = np.argpartition(scores, scores.shape[1] - k, axis=1)[:, scores.shape[1] - k :]
    order = np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)


def softmax(cosines: NDArray[np.float32]) -> NDArray[np.float64]:
    """Each row as probabilities, at `TEMPERATURE`."""
    powers: NDArray[np.float64] = np.exp(
        (cosines.astype(np.float64) - cosines.max(axis=1, keepdims=True, initial=-1.0)) / TEMPERATURE
    )
    powers /= powers.sum(axis=1, keepdims=True)
    return powers
