"""Sorted lists of edges, and their merge."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.arrays import frozen
from mnemodex.indexers.compiled import helper, kernel

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Array, Float32s, Int64s


class EdgeList(NamedTuple):
    """Edges that ascend by source, target and kind, each once; arrays of shape (edges,)."""

    source: Int64s
    """Ids, int64."""
    target: Int64s
    """Ids, int64."""
    kind: Array
    """Numbers of kinds, int8."""
    weight: Float32s


def merge(one: EdgeList, other: EdgeList) -> EdgeList:
    """Return the edges of both; the weights of an edge that both have are added up."""
    most = len(one.source) + len(other.source)
    merged = EdgeList(
        np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int8), np.empty(most, np.float32)
    )
    size = _merge(EdgeList(*map(frozen, one)), EdgeList(*map(frozen, other)), merged)
    return EdgeList(merged.source[:size], merged.target[:size], merged.kind[:size], merged.weight[:size])


@kernel
def _merge(one: EdgeList, other: EdgeList, merged: EdgeList) -> int:
    size = left = right = 0
    while left < len(one.source) or right < len(other.source):
        if left == len(one.source):
            order = 1
        elif right == len(other.source):
            order = -1
        else:
            order = _compare(one, left, other, right)
        row, place = (one, left) if order <= 0 else (other, right)
        merged.source[size], merged.target[size] = row.source[place], row.target[place]
        merged.kind[size], merged.weight[size] = row.kind[place], row.weight[place]
        if order == 0:
            merged.weight[size] += other.weight[right]
        left += order <= 0
        right += order >= 0
        size += 1
    return size


@helper
def _compare(one: EdgeList, left: int, other: EdgeList, right: int) -> int:
    """Return which of two edges comes first: -1, 1, or 0 where they are the same."""
    if one.source[left] != other.source[right]:
        return -1 if one.source[left] < other.source[right] else 1
    if one.target[left] != other.target[right]:
        return -1 if one.target[left] < other.target[right] else 1
    if one.kind[left] != other.kind[right]:
        return -1 if one.kind[left] < other.kind[right] else 1
    return 0
