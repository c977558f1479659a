"""Personalised PageRank over a graph: exactly, for many questions at once, or near the seeds only."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from mnemodex.indexers.arrays import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.indexers.arrays import Array, Float32s, Float64s, Floats, Int32s, Int64s, Integers
    from mnemodex.indexers.graph.graph import Graph

DAMPING = 0.5
"""The probability to walk on rather than to start again (HippoRAG's)."""
_QUESTIONS = 16
"""Questions that walk together: in single precision a node's numbers fill a cache line, and more are no faster."""
_BYTES = 96 << 20
"""Memory of a batch of walks, with 24 bytes a node for each question (twice that if exact)."""


class Mass(NamedTuple):
    """Probability on some of the nodes."""

    nodes: Integers
    """Shape (n,), each node once."""
    values: Floats
    """Shape (n,); their scale does not matter when they are seeds."""


class Walk:
    """A graph to walk on. A step goes along an edge with a probability proportional to its weight.

    At a node that nothing joins, and everywhere with probability 1 - damping, a walk starts again at a node drawn from
    the reset. That is igraph's personalised PageRank (by PRPACK) of an undirected graph.

    Args:
        indptr: int64 of shape (nodes + 1,), the adjacency's; may be mapped.
        indices: int32 of shape (pairs,), the adjacency's; may be mapped.
        weights: float32 of shape (pairs,), not negative, the same from either end.
        damping: the probability to walk on, less than 1.
    """

    def __init__(self, indptr: Int64s, indices: Int32s, weights: Float32s, *, damping: float = DAMPING) -> None:
        from mnemodex.retrievers.graph.walking import strengths

        self._damping = damping
        self._adjacency = (frozen(indptr), frozen(indices), frozen(weights))
        self._strength = strengths(self._adjacency[0], self._adjacency[2])

    def exact(self, resets: Floats) -> Float64s:
        """Return the probability of every node, in double precision, right to 1e-10, shape (questions, nodes).

        Resets say where walks start: they are of the same shape, not negative, and rows need not sum to 1. Rows of the
        result do, or are zeros where the reset is.
        """
        return self._iterate(resets, np.float64, 1e-10)

    def batched(self, resets: Floats) -> Float32s:
        """As `exact`, in single precision, and no farther than one in a million walks goes.

        Takes 12 bytes a node for each of at most 16 questions at a time besides the result.
        """
        return self._iterate(resets, np.float32, 1e-6)

    def _iterate(self, resets: Floats, dtype: Any, tolerance: float) -> Array:
        from mnemodex.retrievers.graph.walking import step

        probabilities = np.empty(resets.shape, dtype)
        with np.errstate(divide="ignore"):
            scale = np.where(self._strength > 0, self._damping / self._strength, 0).astype(dtype)
        steps = math.ceil(math.log(tolerance) / math.log(self._damping))
        for start in range(0, len(resets), _QUESTIONS):
            block = np.ascontiguousarray(_normalized(resets[start : start + _QUESTIONS]).T, dtype)
            walkers, arrived = block * scale[:, None], np.empty_like(block)
            for number in range(steps):
                last = number == steps - 1
                step(self._adjacency, np.ones_like(scale) if last else scale, block, walkers, arrived)
                walkers, arrived = arrived, walkers
            # Walks that are stuck start again and then do what all others do, which is a matter of scale.
            probabilities[start : start + _QUESTIONS] = _normalized(walkers.T)
        return probabilities

    def push(self, seeds: Sequence[Mass], *, epsilon: float = 1e-6) -> list[Mass]:
        """Return the probability of the nodes around the seeds, by forward push (Andersen, Chung and Lang, 2006).

        For each question these are the nodes that were met, in no certain order, with probabilities that sum to 1. Less
        than epsilon for each of its neighbours may be left at a node. The cost does not grow with the graph: at most
        1 / (epsilon * (1 - damping)) edges a question, and 32 bytes a node.
        """
        from mnemodex.retrievers.graph.walking import push

        size = max(len(self._strength), 1)
        state, queue = np.zeros((size, 3)), np.zeros(2 * size, np.int32)
        masses = []
        for nodes, values in seeds:
            start = (np.array(nodes, np.int64), _normalized(np.array(values, np.float64)))
            met, arrived = push(self._adjacency, self._strength, start, self._damping, epsilon, state, queue)
            masses.append(Mass(met, _normalized(arrived)))
        return masses


@dataclass
class Walker:
    """Personalised PageRank with settings.

    Attributes:
        way: `batched` meets every node; `push` those around the seeds, at a cost that does not grow with the graph;
            `exact` is `batched` in double precision.
        fact: the weight of a triple that joins two entities.
        mention: the weight of a mention of an entity in a passage.
        synonym: the weight of a synonym edge, times its cosine.
        overwrite: whether the facts that join two synonyms do not count (HippoRAG's way, in which the cosine takes the
            place of the number of triples).
        epsilon: how much `push` may leave at a node for each of its neighbours.
    """

    way: Literal["batched", "push", "exact"] = "batched"
    fact: float = 1.0
    mention: float = 1.0
    synonym: float = 1.0
    overwrite: bool = False
    epsilon: float = 1e-6
    _last: tuple[Graph, Walk] | None = field(default=None, repr=False, compare=False)

    def walk(self, graph: Graph, seeds: Sequence[Mass]) -> Iterator[Floats]:
        """Yield for each question's seeds the probability of every node, of shape (nodes,); zeros without a seed."""
        # The weights of all edges are computed once for a graph.
        if self._last is None or self._last[0] is not graph:
            self._last = (graph, Walk(graph.indptr, graph.indices, self.weights(graph)))
        walk = self._last[1]
        size = max(1, min(_QUESTIONS, _BYTES // (24 * max(graph.nodes, 1))))
        for start in range(0, len(seeds), size):
            batch = seeds[start : start + size]
            if self.way == "push":
                for mass in walk.push(batch, epsilon=self.epsilon):
                    yield _dense(mass, graph.nodes, np.float32)
            else:
                run, dtype = (walk.exact, np.float64) if self.way == "exact" else (walk.batched, np.float32)
                yield from run(np.array([_dense(mass, graph.nodes, dtype) for mass in batch]))

    def weights(self, graph: Graph) -> Float32s:
        """Return one weight for each pair of nodes, all kinds of edges together, float32 of shape (pairs,)."""
        facts = np.asarray(graph.fact)
        if self.overwrite:
            facts = np.where(np.asarray(graph.synonym) > 0, np.float32(0), facts)
        total: Float32s = facts * np.float32(self.fact)
        total += np.float32(self.mention) * graph.mention
        total += np.float32(self.synonym) * graph.synonym
        return total


def _dense(mass: Mass, nodes: int, dtype: type[np.floating]) -> Floats:
    values = np.zeros(nodes, dtype)
    values[mass.nodes] = mass.values
    return values


def _normalized(masses: Floats) -> Array:
    """Return masses divided by their sum along the last axis, or zeros."""
    total = masses.sum(axis=-1, keepdims=True)
    return masses / np.where(total > 0, total, 1)
