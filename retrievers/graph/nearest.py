"""The texts nearest to a vector: facts and names by their vectors, which are mapped and read block by block."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.retrievers.hits import top_k

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Float32s, Int32s, Int64s
    from mnemodex.indexers.graph.codes import Codes

_BLOCK = 1 << 15
"""Vectors that are compared at a time: 48 MiB of MiniLM's."""
_SAMPLE = 4096
"""Texts that stand for all where these are too many."""


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
        codes: find candidates, whose exact cosines are compared; without them all texts are.
    """

    def __init__(self, matrices: Sequence[Float32s], numbers: Int32s, codes: Codes | None = None) -> None:
        self._matrices = matrices
        self._numbers = numbers
        self._codes = codes
        self._starts = np.cumsum([0, *map(len, matrices)])

    def nearest(self, vectors: Float32s, k: int) -> Nearest:
        """Find the k best texts for each question, or all where there are fewer."""
        return self._all(vectors, k) if self._codes is None else self._likely(vectors, k, self._codes)

    def _likely(self, vectors: Float32s, k: int, codes: Codes) -> Nearest:
        """Look at candidates; the worst of all texts is that of a sample."""
        best, scores = np.zeros((len(vectors), k), np.int64), np.zeros((len(vectors), k), np.float32)
        for question, rows in enumerate(codes.candidates(vectors)):
            cosines = self._take(rows) @ vectors[question]
            numbers = self._numbers[rows].astype(np.int64)
            chosen = top_k(cosines, k, ids=numbers)
            best[question], scores[question] = numbers[chosen], cosines[chosen]
        return Nearest(best, scores, (vectors @ self._sample.T).min(axis=1))

    @cached_property
    def _sample(self) -> Float32s:
        return self._take(np.linspace(0, self._starts[-1] - 1, _SAMPLE).astype(np.int64))

    def _take(self, rows: Int64s) -> Float32s:
        """Read rows, in the order given."""
        parts = np.searchsorted(self._starts, rows, side="right") - 1
        found = np.empty((len(rows), self._matrices[0].shape[1]), np.float32)
        for part in np.unique(parts):
            inside = parts == part
            found[inside] = self._matrices[part][rows[inside] - self._starts[part]]
        return found

    def _all(self, vectors: Float32s, k: int) -> Nearest:
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
