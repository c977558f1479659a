"""The symmetric adjacency of a graph from lists of its edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.compiled import kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.indexers.arrays import Float32s, Int32s, Int64s, Integers

_BLOCK = 1 << 20
"""Edges that are read at a time."""


class Edges(NamedTuple):
    """Edges of one kind, in any direction: integers and float32 of shape (edges,), which may be mapped files."""

    left: Integers
    right: Integers
    weights: Float32s


class Adjacency(NamedTuple):
    """The part of a `Graph` that joins nodes; it has the shapes and meanings."""

    indptr: Int64s
    indices: Int32s
    fact: Float32s
    mention: Float32s
    synonym: Float32s


def adjacency(entities: int, passages: int, *, facts: Edges, mentions: Edges, synonyms: Edges) -> Adjacency:
    """Sort the edges by their ends, each edge once from either end, and merge the kinds that join the same two nodes.

    The edges are counted, then put in place, block by block: besides the result, which takes 32 bytes an edge and 8 a
    node, only a block and the longest row are in memory. An edge from a node to itself is left out; the weights of
    edges of one kind that join the same two nodes are added up. An edge that ends at a node that there is not is a
    `ValueError`.

    Entities are the first nodes, then passage `p` is the node `entities + p`. Facts join entities, weighted by triples;
    mentions go from an entity (left) to a passage (right, from 0); synonyms join entities, weighted by cosine.
    """
    shift = (0, entities, 0)
    kinds = list(zip((facts, mentions, synonyms), shift, (entities, passages, entities), strict=True))
    indptr = np.zeros(entities + passages + 1, np.int64)
    for edges, offset, limit in kinds:
        for left, right, _ in _blocks(edges, offset):
            _check(left, 0, entities)
            _check(right, offset, limit)
            _count(indptr, left, right)
    np.cumsum(indptr, out=indptr)
    indices = np.empty(int(indptr[-1]), np.int32)
    weights = np.zeros((3, len(indices)), np.float32)
    free = indptr[:-1].copy()
    for kind, (edges, offset, _) in enumerate(kinds):
        for left, right, weight in _blocks(edges, offset):
            _place(free, left, right, weight, indices, weights[kind])
    size = _merge(indptr, indices, weights)
    fact, mention, synonym = weights[:, :size]
    return Adjacency(indptr, indices[:size], fact, mention, synonym)


def _blocks(edges: Edges, offset: int) -> Iterator[tuple[Int64s, Int64s, Float32s]]:
    for start in range(0, len(edges.left), _BLOCK):
        left, right, weights = (column[start : start + _BLOCK] for column in edges)
        # Copies, so that kernels meet one type of array, whether the edges are mapped or not.
        yield np.array(left, np.int64), np.array(right, np.int64) + offset, np.array(weights, np.float32)


def _check(nodes: Int64s, first: int, count: int) -> None:
    low, high = int(nodes.min()), int(nodes.max())
    if low < first or high >= first + count:
        number = (low if low < first else high) - first
        raise ValueError(f"an edge ends at number {number}, but there are only {count}")


@kernel
def _count(degrees: Int64s, left: Int64s, right: Int64s) -> None:
    """Add each edge to the degrees of its ends; the degree of node `n` is at `n + 1`."""
    for edge in range(len(left)):
        if left[edge] != right[edge]:
            degrees[left[edge] + 1] += 1
            degrees[right[edge] + 1] += 1


@kernel
def _place(free: Int64s, left: Int64s, right: Int64s, weights: Float32s, indices: Int32s, column: Float32s) -> None:
    """Write each edge to the next free place of either end."""
    for edge in range(len(left)):
        one, other = left[edge], right[edge]
        if one == other:
            continue
        indices[free[one]], column[free[one]] = other, weights[edge]
        indices[free[other]], column[free[other]] = one, weights[edge]
        free[one] += 1
        free[other] += 1


@kernel
def _merge(indptr: Int64s, indices: Int32s, weights: Float32s) -> int:
    """Sort each row and add up what joins the same nodes, in place; `indptr` follows. Return the elements left."""
    size = start = 0
    for node in range(len(indptr) - 1):
        stop = indptr[node + 1]
        row, values = indices[start:stop].copy(), weights[:, start:stop].copy()
        first = size
        for position in np.argsort(row):
            if size == first or indices[size - 1] != row[position]:
                indices[size] = row[position]
                for kind in range(3):
                    weights[kind, size] = 0
                size += 1
            for kind in range(3):
                weights[kind, size - 1] += values[kind, position]
        start = stop
        indptr[node + 1] = size
    return size
