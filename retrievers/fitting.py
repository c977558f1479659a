"""Weights of a hybrid's parts, fitted on questions with gold."""

from __future__ import annotations

from itertools import combinations, pairwise
from math import comb
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.arrays import begins
from mnemodex.retrievers.hits import MISSING_ID
from mnemodex.retrievers.queries import search_each
from mnemodex.retrievers.top_k import top_k
from mnemodex.schemas.manifest import FittedWeights, Stats

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.indexers.arrays import Array, Float64s, Integers
    from mnemodex.retrievers.hybrid import HybridRetriever
    from mnemodex.retrievers.queries import Query

_K = 10
_MOST_TRIED = 300
"""Weights that are tried: of two and three parts, those that differ by a twentieth."""
_FINEST = 20
_DISCOUNT = 1 / np.log2(np.arange(_K) + 2)


class Fitted(Stats):
    """The fitted weights of an index, and the questions of the file that are not used: they have no gold."""

    fitted: FittedWeights
    without_gold: int = 0


class Fit(NamedTuple):
    """Weights of the parts, whose sum is 1, and nDCG@10 with them and of each part alone."""

    weights: tuple[float, ...]
    ndcg: float
    parts: tuple[float, ...]


class _Found(NamedTuple):
    """The candidates of a question.

    Attributes:
        standing: float64 of shape (parts, candidates).
        keys: of their documents, shape (candidates,).
    """

    standing: Float64s
    keys: Array


def fit_weights(retriever: HybridRetriever, queries: Sequence[Query]) -> Fit:
    """Return the weights with the highest nDCG@10 over documents, among evenly spaced ones; of equals the most even.

    All queries have gold.
    """
    found = search_each(queries, lambda asked, where: _search(retriever, asked, where))
    grid = np.array(list(_simplex(len(retriever.parts))))
    ndcg = np.mean([_ndcg(one, query.gold, grid) for one, query in zip(found, queries, strict=True)], axis=0)
    # Sums of equal figures differ in their last bits.
    best = np.flatnonzero(ndcg >= ndcg.max() - 1e-9)
    chosen = best[np.argmin(np.square(grid[best]).sum(axis=1))]
    alone = [ndcg[np.flatnonzero(grid[:, part] == 1)[0]].item() for part in range(grid.shape[1])]
    return Fit(tuple(grid[chosen].tolist()), ndcg[chosen].item(), tuple(alone))


def _search(retriever: HybridRetriever, questions: list[str], where: str | None) -> list[_Found]:
    candidates, answers = retriever.candidates(questions, _K, where)
    columns = []
    for hits in answers:
        column = np.full(hits.ids.shape, "", object)
        column[hits.partition != MISSING_ID] = hits.keys()
        columns.append(column)
    keys = np.hstack(columns).ravel()[candidates.place]
    return [_Found(candidates.standing[:, part], keys[part]) for part in candidates.slices()]


def _simplex(parts: int) -> Iterator[tuple[float, ...]]:
    """Yield evenly spaced weights, whose sums are 1, as finely as the number that is tried allows."""
    steps = next((n for n in range(_FINEST, 1, -1) if comb(n + parts - 1, parts - 1) <= _MOST_TRIED), 1)
    for bars in combinations(range(steps + parts - 1), parts - 1):
        edges = (-1, *bars, steps + parts - 1)
        yield tuple((stop - start - 1) / steps for start, stop in pairwise(edges))


def _ndcg(found: _Found, gold: dict[str, int], grid: Float64s) -> Float64s:
    """Return the nDCG@10 of a question with each of some weights, given in shape (weights, parts)."""
    # Candidates are in the order of their ids, which decides between equal scores.
    keys, lowest, document = np.unique(found.keys.astype(str), return_index=True, return_inverse=True)
    if not len(keys):
        return np.zeros(len(grid))
    order = np.argsort(document, kind="stable")
    chunks = (grid @ found.standing[:, order]).astype(np.float32)
    scores = np.maximum.reduceat(chunks, begins(document[order]), axis=1)
    gain = np.array([gold.get(key, 0) for key in keys.tolist()])
    ideal = _dcg(np.sort(list(gold.values()))[::-1][:_K])
    return np.array([_dcg(gain[top_k(row, _K, ids=lowest)]) for row in scores]) / ideal


def _dcg(gains: Integers) -> float:
    return float(gains @ _DISCOUNT[: len(gains)])
