"""Hits with equal scores: the smaller chunk id comes first, also at the last place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Find = Callable[[NDArray[np.float32], int], tuple[NDArray[np.float32], NDArray[np.int64]]]

MOST_TIES = 4096
"""Rows of equal score at the last place that are compared by id; with more it is open which of them come in."""


def sort_ties(scores: NDArray[np.float32], ids: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """How to bring equal scores into the order of their ids, in hits that are sorted by score already.

    Sorting by two keys takes long, and few queries have ties, so only these are sorted (missing hits are no ties).

    Args:
        scores: shape (q, n), falling.
        ids: shape (q, n).

    Returns:
        The numbers of the queries with ties, shape (t,), and the new order of their hits, shape (t, n).
    """
    tied = ((scores[:, 1:] == scores[:, :-1]) & np.isfinite(scores[:, 1:])).any(axis=1)
    queries = np.flatnonzero(tied)
    return queries, np.lexsort((ids[queries], -scores[queries]), axis=-1)


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
        open_end = np.isfinite(found[:, -1]) & (found[:, width - 1] == found[:, -1]) & (k < fetch < most)
        ties, order = sort_ties(found, ids[places])
        places[ties] = np.take_along_axis(places[ties], order, axis=1)
        scores[todo, :width] = found[:, :width]
        positions[todo, :width] = places[:, :width]
        todo = todo[open_end]
        fetch = min(2 * fetch, most)
    return scores, np.where(positions >= 0, ids[positions] if len(ids) else -1, -1), positions


def merge_ranked(
    answers: Sequence[tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """The k best hits of several shards.

    Args:
        answers: of each shard scores, chunk ids and positions, of shape (q, k).
        k: hits wanted.

    Returns:
        Scores, chunk ids, numbers of shards (-1 where missing) and positions, of shape (q, k).
    """
    scores, ids, positions = (np.concatenate(arrays, axis=1) for arrays in zip(*answers, strict=True))
    shard = np.where(ids >= 0, np.repeat(np.arange(len(answers), dtype=np.int32), k), np.int32(-1))
    if len(answers) == 1:
        return scores, ids, shard, positions
    order = np.argsort(-scores, axis=1, kind="stable")
    ties, among = sort_ties(np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1))
    order[ties] = np.take_along_axis(order[ties], among, axis=1)
    first = order[:, :k]
    return (
        np.take_along_axis(scores, first, axis=1),
        np.take_along_axis(ids, first, axis=1),
        np.take_along_axis(shard, first, axis=1),
        np.take_along_axis(positions, first, axis=1),
    )
