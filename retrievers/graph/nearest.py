"""The vectors nearest to questions, by comparing with all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 1 << 15
"""Vectors that are compared at a time: 48 MiB of MiniLM's."""


class Nearest(NamedTuple):
    """The best rows of a matrix for each question.

    Attributes:
        rows: int64 of shape (questions, k), best first, of equal scores the smaller row first.
        scores: float32 of shape (questions, k): cosines.
        least: float32 of shape (questions,): the score of the worst of all rows.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    least: NDArray[np.float32]


def nearest(vectors: NDArray[np.float32], matrix: NDArray[np.float32], k: int) -> Nearest:
    """Compare questions with all rows of a matrix, block by block.

    Args:
        vectors: float32 of shape (questions, dimension), of length 1.
        matrix: float32 of shape (rows, dimension), of length 1; may be mapped.
        k: how many rows to find; fewer where the matrix has fewer.
    """
    questions = len(vectors)
    found = Nearest(
        np.zeros((questions, 0), np.int64),
        np.zeros((questions, 0), np.float32),
        np.full(questions, np.inf, np.float32),
    )
    for start in range(0, len(matrix), _BLOCK):
        scores = vectors @ matrix[start : start + _BLOCK].T
        rows = np.broadcast_to(np.arange(start, start + scores.shape[1]), scores.shape)
        least = np.minimum(found.least, scores.min(axis=1))
        rows, scores = np.hstack([found.rows, rows]), np.hstack([found.scores, scores])
        best = np.array([top_k(some, k, ids=numbers) for some, numbers in zip(scores, rows, strict=True)], np.int64)
        best = best.reshape(questions, min(k, scores.shape[1]))
        found = Nearest(np.take_along_axis(rows, best, axis=1), np.take_along_axis(scores, best, axis=1), least)
    return found
