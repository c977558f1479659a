"""Fusion of rankings: what several indexes found for the same questions, and the weights of these indexes.

By ranks after Cormack, Clarke and Büttcher (SIGIR 2009); by standardised scores as the weighted CombSUM of Fox and Shaw
(TREC-2, 1993). Weights that follow from the scores alone are ours: see `support`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Self

import numpy as np

from mnemodex.indexers.arrays import begins
from mnemodex.retrievers.hits import MISSING_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Float64s, Int64s
    from mnemodex.retrievers.hits import Hits

_FIRST = 5
"""Hits of a part that the other parts are asked about."""
_LEAST_SUPPORT = 1e-2
"""Deviations: a part whose first hits no other part found counts a little all the same."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The n chunks that the parts of an index found for a batch of questions, each once a question.

    Attributes:
        queries: how many questions there are.
        query: the question of each chunk, ascending, int64 of shape (n,).
        ids: chunk ids, ascending within a question, int64 of shape (n,).
        place: of a hit of the chunk in the answers of all parts, these side by side, int64 of shape (n,).
        rank: in each part, from 0; -1 where it did not return the chunk. int64 of shape (parts, n).
        standing: deviations of its score above that of chunks which the part did not return, float64 of shape
            (parts, n). The mean and the deviation are those of the part's first hits of the question. Chunks that
            were not returned count with the part's lowest score; where it had no more hits, with one deviation less.
    """

    queries: int
    query: Int64s
    ids: Int64s
    place: Int64s
    rank: Int64s
    standing: Float64s

    @classmethod
    def of(cls, answers: Sequence[Hits], depth: int) -> Self:
        """Return the candidates of the answers of all parts to the same questions; scores are those of `depth` hits."""
        ids = np.hstack([hits.ids for hits in answers])
        standing = np.hstack([standing_of(hits, depth) for hits in answers])
        places = np.flatnonzero(ids.ravel() != MISSING_ID)
        query, column = np.divmod(places, ids.shape[1])
        part, rank = np.divmod(column, answers[0].ids.shape[1])
        order = np.lexsort((places, ids.ravel()[places], query))
        places, query, part, rank = places[order], query[order], part[order], rank[order]
        first = begins(query, ids.ravel()[places])
        group = np.repeat(np.arange(len(first)), np.diff(first, append=len(places)))
        ranks = np.full((len(answers), len(first)), -1, np.int64)
        standings = np.zeros(ranks.shape)
        ranks[part, group], standings[part, group] = rank, standing.ravel()[places]
        return cls(len(ids), query[first], ids.ravel()[places[first]], places[first], ranks, standings)

    def slices(self) -> list[slice]:
        """Return where the candidates of each question are."""
        bounds = np.searchsorted(self.query, np.arange(self.queries + 1)).tolist()
        return [slice(start, stop) for start, stop in pairwise(bounds)]

    def by_rank(self, constant: float) -> Float64s:
        """Return 1 / (constant + rank), ranks from 1, and 0 for chunks that a part did not return: (parts, n)."""
        shares: Float64s = np.where(self.rank < 0, 0.0, 1 / (constant + 1 + np.maximum(self.rank, 0)))
        return shares

    def support(self) -> Float64s:
        """Return what the other parts say of each part's first hits: their mean standing there, (parts, queries).

        Where the other parts also give these hits high scores, they are more often right. A part that found nothing
        for a question is left out.
        """
        found = np.array([np.bincount(self.query[rank >= 0], minlength=self.queries) > 0 for rank in self.rank])
        support = np.ones((len(self.rank), self.queries))
        for part, rank in enumerate(self.rank):
            others = np.arange(len(self.rank)) != part
            asked = found[others].sum(axis=0)
            first = (rank >= 0) & (rank < _FIRST)
            query, total = self.query[first], self.standing[others][:, first].sum(axis=0)
            said = np.bincount(query, total, self.queries)
            count = np.bincount(query, minlength=self.queries) * asked
            known = count > 0
            support[part, known] = np.maximum(said[known] / count[known], _LEAST_SUPPORT)
        return support


def standing_of(hits: Hits, depth: int) -> Float64s:
    """Return the standing of each hit, float64 of shape (queries, k); see `Candidates`."""
    found = hits.ids != MISSING_ID
    scores = np.where(found, hits.scores, 0).astype(np.float64)
    first = found[:, :depth]
    count = np.maximum(first.sum(axis=1, keepdims=True), 1)
    mean = scores[:, :depth].sum(axis=1, keepdims=True) / count
    variance = (np.where(first, scores[:, :depth] - mean, 0) ** 2).sum(axis=1, keepdims=True) / count
    deviation = np.sqrt(variance)
    # Scores that are equal but for rounding have no deviation.
    deviation[deviation <= 1e-6 * np.maximum(np.abs(mean), 1e-30)] = 1
    lowest = np.where(found, scores, np.inf).min(axis=1, keepdims=True)
    exhausted = ~found[:, -1:]
    standing: Float64s = np.where(found, (scores - lowest) / deviation + exhausted, 0)
    return standing


def share(weights: Float64s) -> Float64s:
    """Return weights of shape (parts, queries) so that those of a question sum to 1."""
    shares: Float64s = weights / weights.sum(axis=0)
    return shares
