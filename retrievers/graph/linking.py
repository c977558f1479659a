"""The facts nearest to questions, and the weights that their cosines stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEMPERATURE = 0.05
"""The difference of cosines that makes one thing e times as likely as another."""
_BLOCK = 1 << 16
"""Rows of a matrix whose cosines with a batch are in memory at a time."""


class Nearest(NamedTuple):
    """The rows of a matrix nearest to each question, best first; both of shape (questions, k)."""

    rows: NDArray[np.int64]
    cosines: NDArray[np.float32]


def nearest(vectors: NDArray[np.float32], matrix: NDArray[np.float32], k: int) -> Nearest:
    """The rows of a (mapped) matrix with the highest cosines; k or as many as there are.

    Args:
        vectors: float32 of shape (questions, dimension), of length 1.
        matrix: float32 of shape (rows, dimension), of length 1.
        k: how many for each question.
    """
    rows = np.zeros((len(vectors), 0), np.int64)
    cosines = np.zeros((len(vectors), 0), np.float32)
    for start in range(0, len(matrix), _BLOCK):
        block = vectors @ matrix[start : start + _BLOCK].T
        found = best(block, k)
        rows = np.concatenate([rows, found + start], axis=1)
        cosines = np.concatenate([cosines, np.take_along_axis(block, found, axis=1)], axis=1)
        kept = best(cosines, k)
        rows, cosines = np.take_along_axis(rows, kept, axis=1), np.take_along_axis(cosines, kept, axis=1)
    return Nearest(rows, cosines)


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
