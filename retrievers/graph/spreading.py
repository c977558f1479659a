"""From the cosines of passages and the entities of linked facts to scores: a walk that starts at both."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.graph.ppr import Mass
from mnemodex.retrievers.graph.linking import best, softmax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnemodex.indexers.graph.graph import Graph
    from mnemodex.indexers.graph.ppr import Walk

STARTS = 200
"""Passages where a question's walks start; all others have next to no probability."""
_TOLD = 10
"""Entities that an activation names."""


class Spread(NamedTuple):
    """What walks found.

    Attributes:
        scores: float32 of shape (questions, passages), probabilities up to a factor.
        entities: for each question the entities with the most probability, and this.
    """

    scores: NDArray[np.float32]
    entities: list[list[tuple[int, float]]]


def spread(walk: Walk, graph: Graph, cosines: NDArray[np.float32], seeds: Sequence[Mass]) -> Spread:
    """Rank passages by personalised PageRank.

    Walks start at a question's seeds with the probability that these hold, else at a passage drawn by the softmax of
    the cosines. Where no walk starts and none arrives, a passage keeps what starting there would have given, so that
    the order of the rest is that of the cosines. A passage without an edge counts as if it alone had an entity: walks
    from other passages come back to these, and a graph that is thin must not cost a passage its place.

    Args:
        walk: over the edges of the graph.
        graph: the graph.
        cosines: float32 of shape (questions, passages).
        seeds: of each question, entities and their probabilities, which sum to less than 1.
    """
    scores = np.empty(cosines.shape, np.float32)
    starts = []
    for row, (entities, values) in enumerate(seeds):
        probabilities = softmax(cosines[row : row + 1])[0] * (1 - values.sum())
        kept = best(probabilities[None], STARTS)[0]
        starts.append(
            Mass(np.concatenate([entities, kept + graph.entities]), np.concatenate([values, probabilities[kept]]))
        )
        probabilities[kept] = 0
        scores[row] = (1 - walk.damping) * probabilities
    told = []
    for row, (found, start) in enumerate(zip(walk.push(starts), starts, strict=True)):
        values = found.values * start.values.sum()
        passage = found.nodes >= graph.entities
        scores[row, found.nodes[passage] - graph.entities] += values[passage]
        told.append(_heaviest(found.nodes[~passage], values[~passage]))
    alone = np.diff(graph.indptr[graph.entities :]) == 0
    scores[:, alone] /= 1 - walk.damping**2
    return Spread(scores, told)


def _heaviest(entities: NDArray[np.integer], values: NDArray[np.floating]) -> list[tuple[int, float]]:
    kept = best(values[None], _TOLD)[0]
    return list(zip(entities[kept].tolist(), values[kept].tolist(), strict=True))
