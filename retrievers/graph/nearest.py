"""The texts nearest to a vector: facts, names and passages by their vectors, which are mapped."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Float32s, Floats, Int32s, Int64s
    from mnemodex.indexers.graph.codes import Codes

_BLOCK = 1 << 15
"""Vectors that are compared at a time: 48 MiB of MiniLM's."""
_SAMPLE = 2048
"""Texts by which all are estimated where these are too many."""
CANDIDATES, NEAR = 512, 512
"""Facts whose vectors are read for ten: of random names, where no fact is much nearer than others, the nearest ten are
among 256 by their codes in 99.9 % of cases. And passages whose vectors are, as walks start at some hundred."""


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
        matrices: of shape (n, dimension), all float32 or all float16, with rows of length 1; they may be mapped.
        numbers: the text of each row of all matrices, int32 of shape (rows,); -1 for one that is left out.
        codes: find candidates, whose exact cosines are compared; without them all texts are.
    """

    def __init__(self, matrices: Sequence[Floats], numbers: Int32s, codes: Codes | None = None) -> None:
        self._matrices = matrices
        self._numbers = numbers
        self._codes = codes
        self._starts = np.cumsum([0, *map(len, matrices)])
        self._addresses = np.array([matrix.ctypes.data for matrix in matrices], np.int64)

    def nearest(self, vectors: Float32s, k: int) -> Nearest:
        """Find the k best texts for each question, or all where there are fewer."""
        return self._all(vectors, k) if self._codes is None else self._likely(vectors, k, self._codes)

    def _likely(self, vectors: Float32s, k: int, codes: Codes) -> Nearest:
        """Look at candidates; the worst of all texts is that of a sample."""
        best, scores = np.zeros((len(vectors), k), np.int64), np.zeros((len(vectors), k), np.float32)
        for question, rows in enumerate(codes.candidates(vectors, CANDIDATES)):
            cosines = self.take(rows) @ vectors[question]
            numbers = self._numbers[rows].astype(np.int64)
            chosen = top_k(cosines, k, ids=numbers)
            best[question], scores[question] = numbers[chosen], cosines[chosen]
        return Nearest(best, scores, (vectors @ self._sample.T).min(axis=1))

    @cached_property
    def _sample(self) -> Float32s:
        return self.take(self.sample_rows)

    @cached_property
    def sample_rows(self) -> Int64s:
        """Rows by which all are estimated, ascending."""
        kept = np.flatnonzero(self._numbers >= 0)
        return kept[np.unique(np.linspace(0, len(kept) - 1, _SAMPLE).astype(np.int64))]

    def cosines(self, vectors: Float32s, *, temperature: float) -> Float32s:
        """Return cosines of all texts by the rows of their matrices, float32 of shape (vectors, rows).

        They are exact for those that are likely near and for a sample. All others have one, with which a softmax of
        that temperature has the sum that the sample makes likely.
        """
        assert self._codes is not None  # noqa: S101 - where there are none, the caller compares all vectors
        found = np.empty((len(vectors), int(self._starts[-1])), np.float32)
        sampled = vectors @ self._sample.T
        for question, rows in enumerate(self._codes.candidates(vectors, NEAR)):
            others = sampled[question, ~np.isin(self.sample_rows, rows, assume_unique=True)]
            mean = np.exp(others.astype(np.float64) / temperature).mean() if len(others) else 1.0
            found[question] = temperature * np.log(mean)
            found[question, self.sample_rows] = sampled[question]
            found[question, rows] = self.take(rows) @ vectors[question]
        return found

    def take(self, rows: Int64s) -> Float32s:
        """Read rows, given in ascending order."""
        from mnemodex.retrievers.graph.gathering import gather

        found = np.empty((len(rows), self._matrices[0].shape[1]), self._matrices[0].dtype)
        gather(self._addresses, self._starts, rows, found.view(np.uint16))
        return found.astype(np.float32, copy=False)

    def _all(self, vectors: Float32s, k: int) -> Nearest:
        questions = len(vectors)
        best, scores = np.zeros((questions, 0), np.int64), np.zeros((questions, 0), np.float32)
        least = np.full(questions, np.inf, np.float32)
        first = 0
        for matrix in self._matrices:
            for start in range(0, len(matrix), _BLOCK):
                cosines = vectors @ matrix[start : start + _BLOCK].T
                numbers = self._numbers[first : first + cosines.shape[1]]
                first += len(numbers)
                if len(numbers) and numbers.min() < 0:
                    cosines, numbers = cosines[:, numbers >= 0], numbers[numbers >= 0]
                least = np.minimum(least, cosines.min(axis=1, initial=np.inf))
                best = np.hstack([best, np.broadcast_to(numbers, cosines.shape)])
                scores = np.hstack([scores, cosines])
                columns = [top_k(row, k, ids=ids) for row, ids in zip(scores, best, strict=True)]
                chosen = np.array(columns, np.int64).reshape(questions, min(k, scores.shape[1]))
                best = np.take_along_axis(best, chosen, axis=1)
                scores = np.take_along_axis(scores, chosen, axis=1)
        return Nearest(best, scores, least)
