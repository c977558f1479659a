"""The texts nearest to a vector: facts and names by their vectors, which are mapped and read block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.retrievers.hits import top_k

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Float32s, Int32s, Int64s

_BLOCK = 1 << 15
"""Vectors that are compared at a time: 48 MiB of MiniLM's."""


class Nearest(NamedTuple):
    """The best texts for each question."""

    rows: Int64s
    """Numbers of the texts, of shape (questions, k), best first, of equal scores the smaller number first."""
    scores: Float32s
    """Cosines, of the same shape."""
    least: Float32s
    """Shape (questions,): the score of the worst of all texts."""


class TextVectors:
    """The vectors of texts that are numbered otherwise than the rows of their matrices.

    Args:
        matrices: float32 of shape (n, dimension), with rows of length 1; they may be mapped.
        numbers: the text of each row of all matrices, int32 of shape (rows,).
    """

    def __init__(self, matrices: Sequence[Float32s], numbers: Int32s) -> None:
        self._matrices = matrices
        self._numbers = numbers

    def nearest(self, vectors: Float32s, k: int) -> Nearest:
        """Find the k best texts for each question, or all where there are fewer."""
        questions = len(vectors)
        best, scores = np.zeros((questions, 0), np.int64), np.zeros((questions, 0), np.float32)
        least = np.full(questions, np.inf, np.float32)
        first = 0
        for matrix in self._matrices:
            for start in range(0, len(matrix), _BLOCK):
                cosines = vectors @ matrix[start : start + _BLOCK].T
                least = np.minimum(least, cosines.min(axis=1))
                numbers = self._numbers[first : first + cosines.shape[1]]
                first += len(numbers)
                best = np.hstack([best, np.broadcast_to(numbers, cosines.shape)])
                scores = np.hstack([scores, cosines])
                columns = [top_k(row, k, ids=ids) for row, ids in zip(scores, best, strict=True)]
                chosen = np.array(columns, np.int64).reshape(questions, min(k, scores.shape[1]))
                best = np.take_along_axis(best, chosen, axis=1)
                scores = np.take_along_axis(scores, chosen, axis=1)
        return Nearest(best, scores, least)


def nearest(vectors: Float32s, matrix: Float32s, k: int) -> Nearest:
    """Find the k best rows of a matrix for each question, or all where it has fewer.

    Both are float32 of shape (n, dimension), with rows of length 1.
    """
    return TextVectors([matrix], np.arange(len(matrix), dtype=np.int32)).nearest(vectors, k)
