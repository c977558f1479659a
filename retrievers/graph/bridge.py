"""Bridges, our own methods without a language model: rewritten questions are asked again, then the graph is walked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from mnemodex.retrievers.graph.ppr import DAMPING, Mass, Walker
from mnemodex.retrievers.graph.rewriting import MOST, ask, distinct, through_facts, through_passages
from mnemodex.retrievers.graph.space import TEMPERATURE, Activation, Method, Scored, most_probable
from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Float32s, Float64s, Int64s
    from mnemodex.indexers.graph.graph import Graph
    from mnemodex.retrievers.graph.nearest import Nearest
    from mnemodex.retrievers.graph.rewriting import Rewrites
    from mnemodex.retrievers.graph.space import Space

_FACTS, _SECOND_FACTS = 10, 5
"""Facts linked to a question, and to each of its rewrites."""
_SEEDS, _SECOND = 0.6, 0.3
"""The probability that a walk starts at an entity of a linked fact, where facts are as near as passages; and the part
of it that goes to the facts of the rewrites."""
_STARTS = 200
"""Passages where a question's walks start; all others have next to no probability."""


class Bridge(Method):
    """Multi-hop retrieval by facts.

    The facts nearest to a question are looked at. Where one end of a fact is in the question and the other is not, the
    question is asked again with the one in place of the other; where facts leave room, the names in the sentences of
    the best passages serve as the ends of facts. A passage counts by the best of its cosines. Then walks start at the
    passages and at the entities of the facts that are near to the question and to its rewrites, and passages are ranked
    by personalised PageRank.

    It is no worse than dense retrieval because the graph is thin: entities take part as far as the best fact is as near
    to the question as the best passage, passages without edges keep their rank, and without edges there is no walk.

    Args:
        walker: how to walk; by `push` over facts and mentions by default.
    """

    def __init__(self, *, walker: Walker | None = None) -> None:
        self.walker = walker or Walker("push", synonym=0)

    @override
    def score(self, space: Space, questions: Sequence[str], vectors: Float32s) -> Scored:
        scores = np.array(space.dense(vectors))
        linked = space.nearest_facts(vectors, _FACTS)
        # A walk starts at an entity less probably where the best fact is farther away than the best passage.
        behind = linked.scores.max(axis=1, initial=-np.inf) - scores.max(axis=1, initial=-1.0)
        shares = _SEEDS * np.exp(np.minimum(behind.astype(np.float64), 0) / TEMPERATURE)
        texts = []
        for question, facts, cosines in zip(questions, linked.rows, scores, strict=True):
            first = through_facts(question, space.facts(facts.tolist()), space.words)
            full = len(first) == MOST
            texts.append(first if full else distinct([*first, *through_passages(space, question, cosines)]))
        rewrites = ask(space, texts, scores)
        entities, fallback = _spread(self.walker, space.graph, scores, _seeds(space, linked, rewrites, shares))
        return Scored(
            scores,
            [
                Activation(list(zip(facts, cosines, strict=True)), rewrites.of(row), entities[row], fallback)
                for row, (facts, cosines) in enumerate(zip(linked.rows.tolist(), linked.scores.tolist(), strict=True))
            ],
        )


class BridgeLite(Method):
    """Multi-hop retrieval without facts.

    Each sentence of the best passages is taken for a fact that joins the names in it; through these the question is
    rewritten and asked again as in `Bridge`. Then walks start at passages, and go from passage to name to passage.
    Without such a graph there is no walk, and where no sentence gives a rewrite the scores are the cosines.

    Args:
        walker: how to walk; by `push` over mentions by default.
    """

    def __init__(self, *, walker: Walker | None = None) -> None:
        self.walker = walker or Walker("push", fact=0, synonym=0)

    @override
    def score(self, space: Space, questions: Sequence[str], vectors: Float32s) -> Scored:
        scores = np.array(space.dense(vectors))
        texts = [through_passages(space, *row) for row in zip(questions, scores, strict=True)]
        rewrites = ask(space, texts, scores)
        seeds = [Mass(np.zeros(0, np.int64), np.zeros(0))] * len(questions)
        entities, fallback = _spread(self.walker, space.graph, scores, seeds)
        return Scored(scores, [Activation([], rewrites.of(row), entities[row], fallback) for row in range(len(seeds))])


def _seeds(space: Space, linked: Nearest, rewrites: Rewrites, shares: Float64s) -> list[Mass]:
    """Return the entities of the facts linked to each question and to its rewrites, which count alike."""
    second = space.nearest_facts(rewrites.vectors, _SECOND_FACTS) if rewrites.texts else linked
    seeds = []
    for row, share in enumerate(shares):
        own = np.flatnonzero(rewrites.owners == row)
        first = share * (1 - _SECOND) if len(own) else share
        hops = [_ends(space.graph, linked.rows[row], linked.scores[row], first)]
        hops += [_ends(space.graph, second.rows[at], second.scores[at], share * _SECOND / len(own)) for at in own]
        nodes, group = np.unique(np.concatenate([hop.nodes for hop in hops]), return_inverse=True)
        values = np.bincount(group, np.concatenate([hop.values for hop in hops]), len(nodes))
        seeds.append(Mass(nodes, values.astype(np.float64)))
    return seeds


def _ends(graph: Graph, facts: Int64s, cosines: Float32s, share: float) -> Mass:
    """Return the entities of facts: a fact weighs by its cosine, an entity the less the more passages mention it."""
    weights = np.tile(_softmax(cosines), 2)
    nodes = np.concatenate([graph.subjects[facts], graph.objects[facts]])
    values = weights / np.maximum(graph.entity_passages[nodes], 1)
    return Mass(nodes, values * (share / max(values.sum(), np.finfo(np.float64).tiny)))


def _spread(
    walker: Walker, graph: Graph, scores: Float32s, seeds: Sequence[Mass]
) -> tuple[list[list[tuple[int, float]]], str | None]:
    """Rank passages by personalised PageRank.

    Walks start at a question's seeds with the probability that these hold, else at a passage drawn by the softmax of
    the cosines. Where no walk starts, a passage has what starting there would have given, so that the order of the rest
    is that of the cosines. A passage without an edge counts as if it alone had an entity: walks from other passages
    come back to these, and a graph that is thin must not cost a passage its place.

    In `scores`, float32 of shape (questions, passages), cosines are replaced by probabilities, up to a factor. The
    probabilities of each question's seeds sum to less than 1. Return for each question the entities with the most
    probability, and this; and why there was no walk, if so: the graph has no edge.
    """
    if not len(graph.indices):
        return [[] for _ in seeds], "the graph has no edges"
    starts = []
    for row, (entities, values) in enumerate(seeds):
        probabilities = _softmax(scores[row]) * (1 - values.sum())
        best = top_k(probabilities, _STARTS)
        nodes = np.concatenate([entities, best + graph.entities])
        starts.append(Mass(nodes, np.concatenate([values, probabilities[best]])))
        probabilities[best] = 0
        scores[row] = (1 - DAMPING) * probabilities
    probable = []
    for row, reached in enumerate(walker.walk(graph, starts)):
        scores[row] += reached[graph.entities :] * starts[row].values.sum()
        probable.append(most_probable(reached, graph.entities))
    alone = np.diff(graph.indptr[graph.entities :]) == 0
    scores[:, alone] /= 1 - DAMPING**2
    return probable, None


def _softmax(cosines: Float32s) -> Float64s:
    """Return the probabilities of cosines of shape (n,), at `TEMPERATURE`."""
    powers: Float64s = np.exp((cosines.astype(np.float64) - cosines.max(initial=-1.0)) / TEMPERATURE)
    powers /= powers.sum()
    return powers
