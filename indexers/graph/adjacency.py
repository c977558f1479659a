"""The symmetric adjacency of a graph from lists of its edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_BLOCK = 1 << 20
"""Edges that are read at a time."""


class Edges(NamedTuple):
    """Edges of one kind; the arrays may be mapped files. Which end is left does not matter.

    Attributes:
        left: integers of shape (edges,).
        right: integers of shape (edges,).
        weights: float32 of shape (edges,).
    """

    left: NDArray[np.integer]
    right: NDArray[np.integer]
    weights: NDArray[np.float32]


class Adjacency(NamedTuple):
    """The part of a `Graph` that joins nodes; shapes and meanings are told there."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    fact: NDArray[np.float32]
    mention: NDArray[np.float32]
    synonym: NDArray[np.float32]


def adjacency(entities: int, passages: int, *, facts: Edges, mentions: Edges, synonyms: Edges) -> Adjacency:
    """Sort the edges by their ends, each edge once from either end, and merge the kinds that join the same two nodes.

    The edges are counted, then put in place, block by block: beside the result, which takes 32 bytes an edge and 8 a
    node, only a block and the longest row are in memory. An edge from a node to itself is left out; the weights of
    edges of one kind that join the same two nodes are added up.

    Args:
        entities: how many there are; they are the first nodes.
        passages: how many there are; passage `p` is the node `entities + p`.
        facts: edges between entities, weighted by triples.
        mentions: edges from an entity (left) to a passage (right, from 0).
        synonyms: edges between entities, weighted by cosine.

    Raises:
        ValueError: an edge ends at a node that there is not.
    """
    from mnemodex.indexers.graph.sorting import count, merge, place

    shift = (0, entities, 0)
    kinds = list(zip((facts, mentions, synonyms), shift, (entities, passages, entities), strict=True))
    indptr = np.zeros(entities + passages + 1, np.int64)
    for edges, offset, limit in kinds:
        for left, right, _ in _blocks(edges, offset):
            _check(left, 0, entities)
            _check(right, offset, limit)
            count(indptr, left, right)
    np.cumsum(indptr, out=indptr)
    indices = np.empty(int(indptr[-1]), np.int32)
    weights = np.zeros((3, len(indices)), np.float32)
    free = indptr[:-1].copy()
    for kind, (edges, offset, _) in enumerate(kinds):
        for left, right, weight in _blocks(edges, offset):
            place(free, left, right, weight, indices, weights[kind])
    size = merge(indptr, indices, weights)
    fact, mention, synonym = weights[:, :size]
    return Adjacency(indptr, indices[:size], fact, mention, synonym)


def _blocks(edges: Edges, offset: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    for start in range(0, len(edges.left), _BLOCK):
        part = slice(start, start + _BLOCK)
        # Copies, so that kernels meet one type of array, whether the edges are mapped or not.
        yield (
            np.array(edges.left[part], np.int64),
            np.array(edges.right[part], np.int64) + offset,
            np.array(edges.weights[part], np.float32),
        )


def _check(nodes: NDArray[np.int64], first: int, count: int) -> None:
    low, high = int(nodes.min()), int(nodes.max())
    if low < first or high >= first + count:
        msg = f"an edge ends at {low - first if low < first else high - first}, of {count} that there are"
        raise ValueError(msg)
