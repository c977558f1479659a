"""Neighbours as arrays: none of them, some of them in other places, and in the order of their distances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.retrievers.datastore import Neighbours

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnemodex.retrievers.datastore import Datastore


def missing(rows: int, k: int) -> Neighbours:
    """No neighbours: shape (rows, k)."""
    return Neighbours(
        np.full((rows, k), np.inf, np.float32), np.full((rows, k), -1, np.int32), np.full((rows, k), -1, np.int64)
    )


def put(target: Neighbours, rows: NDArray[np.int64], found: Neighbours) -> None:
    """Write neighbours of shape (rows, at most k) into rows of others, which lose what they had."""
    for whole, part, none in (
        (target.distances, found.distances, np.inf),
        (target.tokens, found.tokens, -1),
        (target.ids, found.ids, -1),
    ):
        whole[rows, : part.shape[1]] = part
        whole[rows, part.shape[1] :] = none


def taken(found: Neighbours, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Neighbours:
    """Some rows of them."""
    return Neighbours(found.distances[rows], found.tokens[rows], found.ids[rows])


def nearest_first(found: Neighbours) -> Neighbours:
    """The same in the order of their distances, ties by id, missing ones last."""
    order = np.lexsort((found.ids, found.distances), axis=-1)
    return Neighbours(
        np.take_along_axis(found.distances, order, axis=1),
        np.take_along_axis(found.tokens, order, axis=1),
        np.take_along_axis(found.ids, order, axis=1),
    )


def look_up(datastore: Datastore, keys: NDArray[np.float32], k: int, *, rescore: bool) -> Neighbours:
    """The k nearest entries of keys, nearest first.

    Args:
        datastore: where.
        keys: shape (q, dimension).
        k: entries wanted.
        rescore: take their exact distances, and order them by these.
    """
    found = datastore.nearest(keys, k)
    return nearest_first(datastore.measure(keys, found.ids)) if rescore else found
