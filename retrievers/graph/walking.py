"""Inner loops of personalised PageRank."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.compiled import helper, kernel

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Float32s, Float64s, Floats, Int32s, Int64s

    Adjacency = tuple[Int64s, Int32s, Float32s]
    """`indptr`, `indices` and weights."""
    Pair = tuple[int, int]
THROUGH, HELD, STATUS = 0, 1, 2
"""Columns of a node's state."""
UNMET, MET, WAITING = 0, 1, 2
"""Values of the last of them."""


@kernel
def strengths(indptr: Int64s, weights: Float32s) -> Float64s:
    """Return the sum of each node's weights."""
    sums = np.zeros(len(indptr) - 1)
    for node in range(len(sums)):
        for pair in range(indptr[node], indptr[node + 1]):
            sums[node] += weights[pair]
    return sums


@kernel
def step(adjacency: Adjacency, scale: Floats, resets: Floats, walkers: Floats, arrived: Floats) -> None:
    """Compute `arrived[node] = scale[node] * (resets[node] + sum of weight * walkers[neighbour])`.

    The last three are of shape (nodes, questions), of one type with the scale.
    """
    indptr, indices, weights = adjacency
    for node in range(len(scale)):
        for question in range(walkers.shape[1]):
            arrived[node, question] = resets[node, question]
        for pair in range(indptr[node], indptr[node + 1]):
            neighbour, weight = indices[pair], weights[pair]
            if weight:
                for question in range(walkers.shape[1]):
                    arrived[node, question] += weight * walkers[neighbour, question]
        for question in range(walkers.shape[1]):
            arrived[node, question] *= scale[node]


@helper
def _spread(
    row: Pair, share: float, adjacency: Adjacency, epsilon: float, state: Float64s, queue: Int32s, ends: Pair
) -> Pair:
    """Give a share of each weight to the neighbours; those that hold enough wait. Return the new ends of both lists."""
    indptr, indices, weights = adjacency
    tail, met = ends
    nodes = len(state)
    for pair in range(row[0], row[1]):
        given = share * weights[pair]
        if given == 0:
            continue
        node = indices[pair]
        held = state[node, HELD] + given
        state[node, HELD] = held
        if state[node, STATUS] == UNMET:
            state[node, STATUS] = MET
            queue[nodes + met] = node
            met += 1
        if state[node, STATUS] == MET and held > epsilon * (indptr[node + 1] - indptr[node]):
            state[node, STATUS] = WAITING
            queue[tail] = node
            tail = tail + 1 if tail + 1 < nodes else 0
    return tail, met


@kernel
def push(
    adjacency: Adjacency,
    strength: Float64s,
    seeds: tuple[Int64s, Float64s],
    damping: float,
    epsilon: float,
    state: Float64s,
    queue: Int32s,
) -> tuple[Int32s, Float64s]:
    """Forward push (Andersen, Chung and Lang, 2006) from one question's seeds.

    Args:
        adjacency: the graph.
        strength: the sum of each node's weights.
        seeds: nodes, each once, and their masses.
        damping: the probability to walk on.
        epsilon: a node gives on what it holds when this is more than epsilon for each of its neighbours.
        state: zeros of shape (nodes, 3), and zeros afterwards: what went through a node, what it holds, its status.
        queue: room for twice the nodes: those that wait, in a ring, then those that were met.

    Returns:
        The nodes that were met, in no certain order, and how much arrived at each.
    """
    indptr = adjacency[0]
    nodes = len(strength)
    head = tail = met = 0
    for seed in range(len(seeds[0])):
        node, mass = seeds[0][seed], seeds[1][seed]
        state[node, HELD], state[node, STATUS] = mass, MET
        queue[nodes + met] = node
        met += 1
        if mass > epsilon * (indptr[node + 1] - indptr[node]):
            state[node, STATUS] = WAITING
            queue[tail] = node
            tail = tail + 1 if tail + 1 < nodes else 0
    # A ring of all nodes is full and empty at the same place; the next node's status says which.
    while state[queue[head], STATUS] == WAITING:
        node = queue[head]
        head = head + 1 if head + 1 < nodes else 0
        mass = state[node, HELD]
        state[node, THROUGH] += mass
        state[node, HELD], state[node, STATUS] = 0, MET
        if strength[node] > 0:
            row = (indptr[node], indptr[node + 1])
            share = damping * mass / strength[node]
            tail, met = _spread(row, share, adjacency, epsilon, state, queue, (tail, met))
    return _collect(state, queue[nodes : nodes + met])


@helper
def _collect(state: Float64s, met: Int32s) -> tuple[Int32s, Float64s]:
    arrived = np.empty(len(met))
    for number in range(len(met)):
        node = met[number]
        # What a node still holds arrived at it too, and would have gone through.
        arrived[number] = state[node, THROUGH] + state[node, HELD]
        state[node, THROUGH] = state[node, HELD] = state[node, STATUS] = 0
    return met.copy(), arrived
