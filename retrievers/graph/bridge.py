"""Bridges over facts: what a question mentions is rewritten to what a fact joins it with, then the graph is walked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.retrievers.graph.nearest import nearest
from mnemodex.retrievers.graph.ppr import Mass
from mnemodex.retrievers.graph.rewriting import MOST, ask, through_best, through_facts, together
from mnemodex.retrievers.graph.softmax import TEMPERATURE, softmax
from mnemodex.retrievers.graph.space import Activation, Scored
from mnemodex.retrievers.graph.spreading import spread
from mnemodex.retrievers.graph.walker import Walker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnemodex.indexers.graph.graph import Graph
    from mnemodex.retrievers.graph.nearest import Nearest
    from mnemodex.retrievers.graph.rewriting import Asked
    from mnemodex.retrievers.graph.space import Space

_FACTS = 10
"""Facts linked to a question."""
_SECOND_FACTS = 5
"""Facts linked to a rewrite."""
_SEEDS = 0.6
"""The probability that a walk starts at an entity of a linked fact, where facts are as near as passages."""
_SECOND = 0.3
"""The part of it that goes to the facts of the rewrites."""


class Bridge:
    """Multi-hop retrieval without a language model (our own).

    The facts nearest to a question are looked at. Where one end of a fact is in the question and the other is not, the
    question is asked again with the one in place of the other; where facts leave room, the names in the sentences of
    the best passages serve as the ends of facts. A passage counts by the best of its cosines. Then walks start at the
    passages and at the entities of the facts that are near to the question and to its rewrites, and passages are ranked
    by personalised PageRank.

    It is no worse than dense retrieval because the graph is thin: entities take part as far as the best fact is as near
    to the question as the best passage, passages without edges keep their place, and nobody walks without edges.

    Args:
        walker: how to walk; by `push` over facts and mentions without it.
    """

    def __init__(self, *, walker: Walker | None = None) -> None:
        self.walker = walker or Walker("push", synonym=0)

    def score(self, space: Space, questions: Sequence[str], vectors: NDArray[np.float32]) -> Scored:
        """Rank all passages; see `Method`."""
        scores = np.array(space.dense(vectors))
        linked = nearest(vectors, space.fact_vectors, _FACTS)
        shares = _shares(linked, scores)
        rewrites = []
        for question, facts, cosines in zip(questions, linked.rows, scores, strict=True):
            texts = through_facts(question, space.facts(facts.tolist()), space.words)
            rewrites.append(texts if len(texts) == MOST else together(texts, through_best(space, question, cosines)))
        asked = ask(space, rewrites, scores)
        entities, fallback = spread(self.walker, space.graph, scores, _seeds(space, linked, asked, shares))
        return Scored(
            scores,
            [
                Activation(
                    facts=list(zip(linked.rows[row].tolist(), linked.scores[row].tolist(), strict=True)),
                    rewrites=asked.of(row),
                    entities=entities[row],
                    fallback=fallback,
                )
                for row in range(len(questions))
            ],
        )


def _shares(linked: Nearest, cosines: NDArray[np.float32]) -> NDArray[np.float64]:
    """How probably a walk starts at an entity: less where the best fact is farther away than the best passage."""
    behind = linked.scores.max(axis=1, initial=-np.inf) - cosines.max(axis=1, initial=-1.0)
    shares: NDArray[np.float64] = _SEEDS * np.exp(np.minimum(behind.astype(np.float64), 0) / TEMPERATURE)
    return shares


def _seeds(space: Space, linked: Nearest, asked: Asked, shares: NDArray[np.float64]) -> list[Mass]:
    """The entities of the facts linked to each question, and of those linked to its rewrites, which count alike."""
    second = nearest(asked.vectors, space.fact_vectors, _SECOND_FACTS) if asked.texts else linked
    seeds = []
    for row, share in enumerate(shares):
        own = np.flatnonzero(asked.owners == row)
        first = share * (1 - _SECOND) if len(own) else share
        hops = [_ends(space.graph, linked.rows[row], linked.scores[row], first)]
        hops += [_ends(space.graph, second.rows[at], second.scores[at], share * _SECOND / len(own)) for at in own]
        nodes, places = np.unique(np.concatenate([hop.nodes for hop in hops]), return_inverse=True)
        values = np.bincount(places, np.concatenate([hop.values for hop in hops]), len(nodes))
        seeds.append(Mass(nodes, values.astype(np.float64)))
    return seeds


def _ends(graph: Graph, facts: NDArray[np.int64], cosines: NDArray[np.float32], share: float) -> Mass:
    """The entities of facts: a fact weighs by its cosine, and an entity the less the more passages mention it."""
    weights = np.tile(softmax(cosines[None])[0], 2)
    nodes = np.concatenate([graph.subjects[facts], graph.objects[facts]])
    values = weights / np.maximum(graph.entity_passages[nodes], 1)
    return Mass(nodes, values * (share / max(values.sum(), np.finfo(np.float64).tiny)))
