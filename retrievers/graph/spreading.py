"""From the cosines of passages and the entities of linked facts to scores: a walk that starts at both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.retrievers.graph.ppr import Mass
from mnemodex.retrievers.graph.softmax import softmax
from mnemodex.retrievers.graph.walker import most_probable
from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnemodex.indexers.graph.graph import Graph
    from mnemodex.retrievers.graph.walker import Walker

STARTS = 200
"""Passages where a question's walks start; all others have next to no probability."""


def spread(
    walker: Walker, graph: Graph, scores: NDArray[np.float32], seeds: Sequence[Mass]
) -> tuple[list[list[tuple[int, float]]], str | None]:
    """Rank passages by personalised PageRank.

    Walks start at a question's seeds with the probability that these hold, else at a passage drawn by the softmax of
    the cosines. Where no walk starts, a passage has what starting there would have given, so that the order of the rest
    is that of the cosines. A passage without an edge counts as if it alone had an entity: walks from other passages
    come back to these, and a graph that is thin must not cost a passage its place.

    Args:
        walker: how to walk.
        graph: the graph; nobody walks where it has no edge.
        scores: float32 of shape (questions, passages): cosines; probabilities, up to a factor, take their place.
        seeds: of each question, entities and their probabilities, which sum to less than 1.

    Returns:
        For each question the entities with the most probability, and this; and why nobody walked, if so.
    """
    if not len(graph.indices):
        return [[] for _ in seeds], "the graph has no edges"
    starts = []
    for row, (entities, values) in enumerate(seeds):
        probabilities = softmax(scores[row : row + 1])[0] * (1 - values.sum())
        kept = top_k(probabilities, STARTS)
        nodes = np.concatenate([entities, kept + graph.entities])
        starts.append(Mass(nodes, np.concatenate([values, probabilities[kept]])))
        probabilities[kept] = 0
        scores[row] = (1 - walker.damping) * probabilities
    told = []
    for row, reached in enumerate(walker.walk(graph, starts)):
        scores[row] += reached[graph.entities :] * starts[row].values.sum()
        told.append(most_probable(reached, graph.entities))
    alone = np.diff(graph.indptr[graph.entities :]) == 0
    scores[:, alone] /= 1 - walker.damping**2
    return told, None
