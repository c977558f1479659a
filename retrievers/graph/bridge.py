"""Bridges, our own methods without a language model: rewritten questions are asked again, then the graph is walked."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from mnemodex.indexers.graph.names import names_in
from mnemodex.retrievers.graph.agreement import add_titles, add_words
from mnemodex.retrievers.graph.asking import Asker, Rewrite
from mnemodex.retrievers.graph.budget import Budget, Pace
from mnemodex.retrievers.graph.mentions import Mentions
from mnemodex.retrievers.graph.method import Activation, Method, Scored, most_probable
from mnemodex.retrievers.graph.parsing import Parser
from mnemodex.retrievers.graph.ppr import DAMPING, Mass, Walker
from mnemodex.retrievers.graph.rewriting import through_passages
from mnemodex.retrievers.graph.rounds import BEHIND, FACTS, Parts, Question, Rounds
from mnemodex.retrievers.graph.space import TEMPERATURE
from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Float32s, Float64s, Int64s
    from mnemodex.indexers.graph.graph import Graph
    from mnemodex.retrievers.graph.asking import Reply
    from mnemodex.retrievers.graph.nearest import Nearest
    from mnemodex.retrievers.graph.space import Space

_FACTS, _SECOND_FACTS = 10, 5
"""Facts linked to a question, and to each of its rewrites."""
_SEEDS, _SECOND = 0.6, 0.3
"""The probability that a walk starts at an entity of a linked fact, where facts are as near as passages; and the part
of it that goes to the facts of the rewrites."""
_NAMELESS = "the question names nothing, or only what many passages mention"
_STARTS = 200
"""Passages where a question's walks start; all others have next to no probability."""


class Bridge(Method):
    """Multi-hop retrieval by facts.

    The facts nearest to a question are looked at. Where one end of a fact is in the question and the other is not, the
    question is asked again with the one in place of the other; where facts leave room, the names in the sentences of
    the best passages serve as the ends of facts. Further rounds ask for the clauses of the question and for what takes
    their place, see `Rounds`. A passage counts by the best of its scores, and by its title where the question mentions
    it. Then walks start at the passages and at the entities of the facts that are near to the question and to its
    rewrites, and passages are ranked by personalised PageRank.

    It is no worse than dense retrieval because the graph is thin: entities take part as far as the best fact is as near
    to the question as the best passage, passages without edges keep their rank, and without edges there is no walk. A
    question that names nothing, neither by how it is written nor by a fact's end with a word that few passages hold, is
    answered by the cosines, and by BM25 where the space has such an index.

    Args:
        walker: how to walk; by `push` over facts and mentions by default.
        parser: parses questions; without it they have no clauses.
        parts: what questions are rewritten by; all by default.
        budget_ms: milliseconds that the rewrites of a question may take; without it all are asked.
    """

    def __init__(
        self,
        *,
        walker: Walker | None = None,
        parser: Parser | None = None,
        parts: Parts | None = None,
        budget_ms: float | None = None,
    ) -> None:
        self.walker = walker or Walker("push", synonym=0)
        self._parser = parser or Parser(None)
        self._parts = parts or Parts()
        self._budget_ms = budget_ms
        self._pace = Pace()

    @override
    def score(self, space: Space, questions: Sequence[str], vectors: Float32s) -> Scored:
        budget = Budget(self._budget_ms, len(questions), self._pace) if self._budget_ms else None
        scores = np.array(space.dense(vectors))
        linked = space.nearest_facts(vectors, _FACTS)
        # A walk starts at an entity less probably where the best fact is farther away than the best passage.
        behind = linked.scores.max(axis=1, initial=-np.inf) - scores.max(axis=1, initial=-1.0)
        shares = _SEEDS * np.exp(np.minimum(behind.astype(np.float64), 0) / TEMPERATURE)
        asker = Asker(space, scores, facts=FACTS, budget=budget, is_capped=self._parts.cap)
        named = self._read(space, questions, linked, scores)
        if self._parser.missing is not None and self._parts.clauses:
            asker.leave_out(named, self._parser.missing)
        Rounds(asker, named, self._parts).run()
        if self._parts.titles:
            add_titles(space, {row: question.text for row, question in named.items()}, scores)
        add_words(space, questions, scores)
        seeds = [
            _seeds(space.graph, linked, row, asker.replies_to(row), share) if row in named else None
            for row, share in enumerate(shares)
        ]
        entities, fallback = _spread(self.walker, space.graph, scores, seeds)
        return Scored(
            scores,
            [
                _activation(asker, row, entities[row], fallback, list(zip(facts, cosines, strict=True)))
                if row in named
                else Activation(fallback=_NAMELESS)
                for row, (facts, cosines) in enumerate(zip(linked.rows.tolist(), linked.scores.tolist(), strict=True))
            ],
        )

    def _read(self, space: Space, questions: Sequence[str], linked: Nearest, scores: Float32s) -> dict[int, Question]:
        """Read the facts linked to each of a batch of questions; return those that name something, parsed at once."""
        facts, width = iter(space.facts(linked.rows.ravel().tolist())), linked.rows.shape[1]
        named = {}
        for number, text in enumerate(questions):
            own = list(islice(facts, width))
            ends = {end for subject, _, object_ in own for end in (subject, object_)}
            mentions = Mentions(text, space.words, ends)
            if names_in(text) or any(map(mentions.is_distinct, ends)):
                named[number] = Question(text, own, scores[number], mentions)
        if self._parser.parse is not None and self._parts.clauses:
            docs = self._parser.parse([question.text for question in named.values()])
            named = {row: question._replace(doc=doc) for (row, question), doc in zip(named.items(), docs, strict=True)}
        return named


class BridgeLite(Method):
    """Multi-hop retrieval without facts.

    Each sentence of the best passages is taken for a fact that joins the names in it; through these the question is
    rewritten and asked again as in `Bridge`, where it names something. Then walks start at passages, and go from
    passage to name to passage. Without such a graph there is no walk, and where no sentence gives a rewrite the scores
    are the cosines.

    Args:
        walker: how to walk; by `push` over mentions by default.
        budget_ms: milliseconds that the rewrites of a question may take; without it all are asked.
    """

    def __init__(self, *, walker: Walker | None = None, budget_ms: float | None = None) -> None:
        self.walker = walker or Walker("push", fact=0, synonym=0)
        self._budget_ms = budget_ms
        self._pace = Pace()

    @override
    def score(self, space: Space, questions: Sequence[str], vectors: Float32s) -> Scored:
        budget = Budget(self._budget_ms, len(questions), self._pace) if self._budget_ms else None
        scores = np.array(space.dense(vectors))
        asker = Asker(space, scores, budget=budget)
        texts = [through_passages(space, *row) for row in zip(questions, scores, strict=True)]
        asker.ask([Rewrite(row, text, behind=BEHIND) for row, own in enumerate(texts) for text in own])
        add_titles(space, {row: text for row, text in enumerate(questions) if texts[row]}, scores)
        add_words(space, questions, scores)
        seeds = [Mass(np.zeros(0, np.int64), np.zeros(0))] * len(questions)
        entities, fallback = _spread(self.walker, space.graph, scores, seeds)
        return Scored(scores, [_activation(asker, row, entities[row], fallback) for row in range(len(seeds))])


def _activation(
    asker: Asker,
    question: int,
    entities: list[tuple[int, float]],
    fallback: str | None,
    facts: Sequence[tuple[int, float]] = (),
) -> Activation:
    rewrites = [(reply.rewrite.text, reply.score) for reply in asker.replies_to(question)]
    return Activation(list(facts), rewrites, entities, fallback, left_out=asker.left_out(question))


def _seeds(graph: Graph, linked: Nearest, question: int, replies: Sequence[Reply], share: float) -> Mass:
    """Return the entities of the facts linked to a question and to its rewrites, which count alike."""
    first = share * (1 - _SECOND) if replies else share
    hops = [_ends(graph, linked.rows[question], linked.scores[question], first)]
    for reply in replies:
        facts, cosines = reply.facts[:_SECOND_FACTS], reply.fact_cosines[:_SECOND_FACTS]
        hops.append(_ends(graph, facts, cosines, share * _SECOND / len(replies)))
    nodes, group = np.unique(np.concatenate([hop.nodes for hop in hops]), return_inverse=True)
    values = np.bincount(group, np.concatenate([hop.values for hop in hops]), len(nodes))
    return Mass(nodes, values.astype(np.float64))


def _ends(graph: Graph, facts: Int64s, cosines: Float32s, share: float) -> Mass:
    """Return the entities of facts: a fact weighs by its cosine, an entity the less the more passages mention it."""
    weights = np.tile(_softmax(cosines), 2)
    nodes = np.concatenate([graph.subjects[facts], graph.objects[facts]])
    values = weights / np.maximum(graph.entity_passages[nodes], 1)
    return Mass(nodes, values * (share / max(values.sum(), np.finfo(np.float64).tiny)))


def _spread(
    walker: Walker, graph: Graph, scores: Float32s, seeds: Sequence[Mass | None]
) -> tuple[list[list[tuple[int, float]]], str | None]:
    """Rank passages by personalised PageRank.

    Walks start at a question's seeds with the probability that these hold, else at a passage drawn by the softmax of
    the cosines. Where no walk starts, a passage has what starting there would have given, so that the order of the rest
    is that of the cosines. A passage without an edge counts as if it alone had an entity: walks from other passages
    come back to these, and a graph that is thin must not cost a passage its place. A question whose seeds are None has
    no walk.

    In `scores`, float32 of shape (questions, passages), cosines are replaced by probabilities, up to a factor. The
    probabilities of each question's seeds sum to less than 1. Return for each question the entities with the most
    probability, and this; and why there was no walk, if so: the graph has no edge.
    """
    if not len(graph.indices):
        return [[] for _ in seeds], "the graph has no edges"
    starts, walking = [], []
    for row, seed in enumerate(seeds):
        if seed is None:
            scores[row] = (1 - DAMPING) * _softmax(scores[row])
            continue
        entities, values = seed
        walking.append(row)
        probabilities = _softmax(scores[row]) * (1 - values.sum())
        best = top_k(probabilities, _STARTS)
        nodes = np.concatenate([entities, best + graph.entities])
        starts.append(Mass(nodes, np.concatenate([values, probabilities[best]])))
        probabilities[best] = 0
        scores[row] = (1 - DAMPING) * probabilities
    alone = np.diff(graph.indptr[graph.entities :]) == 0
    probable: list[list[tuple[int, float]]] = [[] for _ in seeds]
    for row, start, reached in zip(walking, starts, walker.walk(graph, starts), strict=True):
        scores[row] += reached[graph.entities :] * start.values.sum()
        scores[row, alone] /= 1 - DAMPING**2
        probable[row] = most_probable(reached, graph.entities)
    return probable, None


def _softmax(cosines: Float32s) -> Float64s:
    """Return the probabilities of cosines of shape (n,), at `TEMPERATURE`."""
    powers: Float64s = np.exp((cosines.astype(np.float64) - cosines.max(initial=-1.0)) / TEMPERATURE)
    powers /= powers.sum()
    return powers
