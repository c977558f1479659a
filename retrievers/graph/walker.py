"""How a method of graph retrieval walks: over which edges, from which seeds, and what becomes of the probabilities."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from mnemodex.retrievers.graph.ppr import DAMPING, Mass, Walk
from mnemodex.retrievers.graph.weights import weights
from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mnemodex.indexers.graph.graph import Graph

_QUESTIONS = 16
"""The most questions that walk at a time: more are no faster."""
_BYTES = 96 << 20
"""What they may take together, with 24 bytes a node for each (twice that if exact)."""


@dataclass
class Walker:
    """Personalised PageRank with settings.

    Attributes:
        way: `batched` meets every node; `push` those around the seeds, at a cost that does not grow with the graph;
            `exact` is `batched` in double precision.
        damping: the probability to walk on.
        fact: what a triple that joins two entities counts.
        mention: what the mention of an entity in a passage counts.
        synonym: what a synonym edge counts, times its cosine.
        overwrite: whether the facts that join two synonyms do not count.
        epsilon: how much `push` may leave at a node for each of its neighbours.
        threads: questions that `push` answers side by side.
    """

    way: Literal["batched", "push", "exact"] = "batched"
    damping: float = DAMPING
    fact: float = 1.0
    mention: float = 1.0
    synonym: float = 1.0
    overwrite: bool = False
    epsilon: float = 1e-6
    threads: int = 1
    _last: tuple[Graph, Walk] | None = field(default=None, repr=False, compare=False)

    def walk(self, graph: Graph, seeds: Sequence[Mass]) -> Iterator[NDArray[np.floating]]:
        """Walk from each question's seeds.

        Yields:
            For each question the probability of every node, of shape (nodes,); zeros where there is no seed.
        """
        walk = self._walk(graph)
        together = max(1, min(_QUESTIONS, _BYTES // (24 * max(graph.nodes, 1))))
        for start in range(0, len(seeds), together):
            some = seeds[start : start + together]
            if self.way == "push":
                for mass in walk.push(some, epsilon=self.epsilon, threads=self.threads):
                    yield _spread(mass, graph.nodes, np.float32)
            else:
                run, dtype = (walk.exact, np.float64) if self.way == "exact" else (walk.batched, np.float32)
                yield from run(np.array([_spread(mass, graph.nodes, dtype) for mass in some]))

    def _walk(self, graph: Graph) -> Walk:
        # The weights of all edges are computed once for a graph.
        if self._last is None or self._last[0] is not graph:
            chosen = weights(
                graph, fact=self.fact, mention=self.mention, synonym=self.synonym, overwrite=self.overwrite
            )
            self._last = (graph, Walk(graph.indptr, graph.indices, chosen, damping=self.damping))
        return self._last[1]


def _spread(mass: Mass, nodes: int, dtype: type[np.floating]) -> NDArray[np.floating]:
    spread = np.zeros(nodes, dtype)
    spread[mass.nodes] = mass.values
    return spread


def min_max(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Stretch scores from 0 to 1 along the last axis; equal scores become 1."""
    if not scores.size:
        return scores
    low, high = scores.min(axis=-1, keepdims=True), scores.max(axis=-1, keepdims=True)
    stretched: NDArray[np.floating] = np.where(high > low, (scores - low) / np.where(high > low, high - low, 1), 1)
    return stretched


def most_probable(probabilities: NDArray[np.floating], entities: int, k: int = 10) -> list[tuple[int, float]]:
    """The entities with the most probability, best first; none without any."""
    mass = probabilities[:entities]
    return [(int(entity), float(mass[entity])) for entity in top_k(mass, k) if mass[entity] > 0]


def after(reached: NDArray[np.floating], dense: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scores of passages by the walk, and below them, by their vectors, the passages that it did not reach.

    Args:
        reached: of shape (passages,), 0 where the walk did not come.
        dense: cosines, of shape (passages,).

    Returns:
        Shape (passages,), 0 or less where the walk did not come.
    """
    return np.where(reached > 0, reached, min_max(dense) - 1).astype(np.float32)
