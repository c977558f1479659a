"""Inner loops of personalised PageRank."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.compiled import helper, kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Adjacency = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]

THROUGH, HELD, PLACE = 0, 1, 2
"""Columns of a node's state."""
UNMET, MET, WAITING = 0, 1, 2
"""What stands in the last of them."""


@kernel
def strengths(indptr: NDArray[np.int64], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """The sum of each node's weights."""
    sums = np.zeros(len(indptr) - 1)
    for node in range(len(sums)):
        for pair in range(indptr[node], indptr[node + 1]):
            sums[node] += weights[pair]
    return sums


@kernel
def step(
    adjacency: Adjacency,
    scale: NDArray[np.floating],
    resets: NDArray[np.floating],
    walkers: NDArray[np.floating],
    arrived: NDArray[np.floating],
) -> None:
    """`arrived[node] = scale[node] * (resets[node] + sum of weight * walkers[neighbour])`.

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
    row: tuple[int, int],
    share: float,
    adjacency: Adjacency,
    epsilon: float,
    state: NDArray[np.float64],
    queue: NDArray[np.int32],
    place: tuple[int, int],
) -> tuple[int, int]:
    """Give a share of each weight to the neighbours; those that hold enough wait. Returns where the lists end now."""
    indptr, indices, weights = adjacency
    tail, met = place
    nodes = len(state)
    for pair in range(row[0], row[1]):
        given = share * weights[pair]
        if given == 0:
            continue
        node = indices[pair]
        held = state[node, HELD] + given
        state[node, HELD] = held
        if state[node, PLACE] == UNMET:
            state[node, PLACE] = MET
            queue[nodes + met] = node
            met += 1
        if state[node, PLACE] == MET and held > epsilon * (indptr[node + 1] - indptr[node]):
            state[node, PLACE] = WAITING
            queue[tail] = node
            tail = tail + 1 if tail + 1 < nodes else 0
    return tail, met


@kernel
def push(
    adjacency: Adjacency,
    strength: NDArray[np.float64],
    seeds: tuple[NDArray[np.int64], NDArray[np.float64]],
    damping: float,
    epsilon: float,
    state: NDArray[np.float64],
    queue: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Forward push (Andersen, Chung and Lang, 2006) from one question's seeds.

    Args:
        adjacency: the graph.
        strength: the sum of each node's weights.
        seeds: nodes, each once, and their masses.
        damping: the probability to go on.
        epsilon: a node gives on what it holds when this is more than epsilon for each of its neighbours.
        state: zeros of shape (nodes, 3), and zeros afterwards: what went through a node, what it holds, and whether it
            was met.
        queue: room for twice the nodes: those that wait, in a ring, then those that were met.

    Returns:
        The nodes that were met, in no certain order, and how much came to each.
    """
    indptr = adjacency[0]
    nodes = len(strength)
    head = tail = met = 0
    for place in range(len(seeds[0])):
        node, mass = seeds[0][place], seeds[1][place]
        state[node, HELD], state[node, PLACE] = mass, MET
        queue[nodes + met] = node
        met += 1
        if mass > epsilon * (indptr[node + 1] - indptr[node]):
            state[node, PLACE] = WAITING
            queue[tail] = node
            tail = tail + 1 if tail + 1 < nodes else 0
    # A ring of all nodes is full and empty at the same place; which of both, the next node's state says.
    while state[queue[head], PLACE] == WAITING:
        node = queue[head]
        head = head + 1 if head + 1 < nodes else 0
        mass = state[node, HELD]
        state[node, THROUGH] += mass
        state[node, HELD], state[node, PLACE] = 0, MET
        if strength[node] > 0:
            row = (indptr[node], indptr[node + 1])
            share = damping * mass / strength[node]
            tail, met = _spread(row, share, adjacency, epsilon, state, queue, (tail, met))
    return _collect(state, queue[nodes : nodes + met])


@helper
def _collect(state: NDArray[np.float64], met: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    came = np.empty(len(met))
    for place in range(len(met)):
        node = met[place]
        # What a node still holds came to it too, and would have gone through.
        came[place] = state[node, THROUGH] + state[node, HELD]
        state[node, THROUGH] = state[node, HELD] = state[node, PLACE] = 0
    return met.copy(), came
