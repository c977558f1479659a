"""Hits with equal scores: the smaller chunk id comes first, also at the last place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Find = Callable[[NDArray[np.float32], int], tuple[NDArray[np.float32], NDArray[np.int64]]]

MOST_TIES = 4096
"""Rows of equal score at the last place that are compared by id; with more it is open which of them come in."""


def ranking(scores: NDArray[np.float32], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order of each query's hits by falling score, equal scores by rising id; all of shape (q, n)."""
    order: NDArray[np.int64] = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=1)
    # Sorting by two keys takes ten times as long, and few queries have ties (missing hits do not count as such).
    ties = np.flatnonzero(((ranked[:, 1:] == ranked[:, :-1]) & np.isfinite(ranked[:, 1:])).any(axis=1))
    order[ties] = np.lexsort((ids[ties], -scores[ties]), axis=-1)
    return order


def find_ranked(
    find: Find, queries: NDArray[np.float32], k: int, *, matching: int, ids: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Find the k best hits, with ties at the last place decided by id.

    One hit more than wanted shows whether the last place is tied; only then is more looked for, twice as much each
    time.

    Args:
        find: takes queries and a number of hits, and gives their scores and positions (-inf and -1 where missing), best
            first.
        queries: shape (q, d).
        k: hits wanted.
        matching: hits that there are, at most.
        ids: chunk id of each position.

    Returns:
        Scores, chunk ids (-1 where missing) and positions (likewise), of shape (q, k).
    """
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    positions = np.full((len(queries), k), -1, dtype=np.int64)
    most = min(matching, k + MOST_TIES)
    fetch = min(k + 1, most)
    width = min(k, fetch)
    todo = np.arange(len(queries) if fetch else 0)
    while len(todo):
        found, places = find(queries[todo], fetch)
        order = ranking(found, np.where(places >= 0, ids[places], -1))[:, :width]
        tied = np.isfinite(found[:, -1]) & (found[:, width - 1] == found[:, -1]) & (k < fetch < most)
        scores[todo, :width] = np.take_along_axis(found, order, axis=1)
        positions[todo, :width] = np.take_along_axis(places, order, axis=1)
        todo = todo[tied]
        fetch = min(2 * fetch, most)
    return scores, np.where(positions >= 0, ids[positions] if len(ids) else -1, -1), positions
