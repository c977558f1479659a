"""HippoRAG 2: facts near the question lead a walk over facts, mentions and synonyms."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.retrievers.graph.nearest import nearest
from mnemodex.retrievers.graph.ppr import Mass
from mnemodex.retrievers.graph.space import Activation, Scored
from mnemodex.retrievers.graph.walker import Walker, after, min_max, most_probable
from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnemodex.indexers.graph.graph import Graph
    from mnemodex.retrievers.graph.space import Space

Keep = Callable[[str, list[tuple[str, str, str]]], list[int]]
"""Recognition memory: which of a question's facts (by their places in the list) help to answer it."""


class HippoRAG2:
    """Gutierrez et al., "From RAG to Memory" (2025), as its official code does it.

    A question's nearest facts seed their subjects and objects: each with the facts' scores, stretched from 0 to 1 over
    all facts, by the number of passages that mention it, averaged over its facts. Every passage is a seed too, by its
    own likeness to the question. A question without facts is answered by the passages' vectors alone.

    Args:
        facts: how many of the nearest facts are linked.
        entities: how many of their ends stay seeds, the best.
        passage_weight: of a passage's likeness as a seed, beside an entity's weight.
        passages: how many passages are seeds, the best; all without it. A walk by `push` wants some hundreds.
        keep: the recognition memory; none keeps every fact.
        walker: how to walk. In the official graph facts and synonyms stand twice, once for either direction, mentions
            once, and a synonym's cosine takes the place of the facts between its ends.
    """

    def __init__(
        self,
        *,
        facts: int = 5,
        entities: int = 5,
        passage_weight: float = 0.05,
        passages: int | None = None,
        keep: Keep | None = None,
        walker: Walker | None = None,
    ) -> None:
        self.facts = facts
        self.entities = entities
        self.passage_weight = passage_weight
        self.passages = passages
        self.keep = keep
        self.walker = walker or Walker(fact=2, mention=1, synonym=2, overwrite=True)

    def score(self, space: Space, questions: Sequence[str], vectors: NDArray[np.float32]) -> Scored:
        """Rank all passages; see `Method`."""
        graph, dense = space.graph, space.dense(vectors)
        linked = self._link(space, questions, vectors)
        asked = [question for question, facts in enumerate(linked) if facts]
        scores = np.array(dense, np.float32)
        activations = [Activation(fallback="no fact is linked to the question") for _ in questions]
        seeds = [self._seeds(graph, linked[question], dense[question]) for question in asked]
        for question, probabilities in zip(asked, self.walker.walk(graph, seeds), strict=True):
            scores[question] = after(probabilities[graph.entities :], dense[question])
            entities = most_probable(probabilities, graph.entities)
            activations[question] = Activation(facts=linked[question], entities=entities)
        return Scored(scores, activations)

    def _link(
        self, space: Space, questions: Sequence[str], vectors: NDArray[np.float32]
    ) -> list[list[tuple[int, float]]]:
        """The facts of each question with their scores, 0 to 1, best first."""
        if not len(space.fact_vectors):
            return [[] for _ in questions]
        rows, cosines, least = nearest(vectors, space.fact_vectors, self.facts)
        spread = cosines[:, :1] - least[:, None]
        shares = np.where(spread > 0, (cosines - least[:, None]) / np.where(spread > 0, spread, 1), 1)
        linked = [
            list(zip(facts, scores, strict=True)) for facts, scores in zip(rows.tolist(), shares.tolist(), strict=True)
        ]
        if self.keep is None:
            return linked
        kept = []
        for question, facts in zip(questions, linked, strict=True):
            chosen = set(self.keep(question, space.facts([fact for fact, _ in facts])))
            kept.append([fact for place, fact in enumerate(facts) if place in chosen])
        return kept

    def _seeds(self, graph: Graph, facts: list[tuple[int, float]], dense: NDArray[np.float32]) -> Mass:
        numbers = np.array([fact for fact, _ in facts])
        ends = np.concatenate([graph.subjects[numbers], graph.objects[numbers]])
        scores = np.tile(np.array([score for _, score in facts]), 2)
        entities, place, times = np.unique(ends, return_inverse=True, return_counts=True)
        weight = np.bincount(place, scores / np.maximum(graph.entity_passages[ends], 1)) / times
        best = top_k(weight, self.entities, ids=entities)
        likeness = min_max(dense)
        passages = np.arange(graph.passages)
        if self.passages is not None and self.passages < graph.passages:
            passages = top_k(likeness, self.passages)
        return Mass(
            np.concatenate([entities[best], graph.entities + passages]),
            np.concatenate([weight[best], self.passage_weight * likeness[passages]]),
        )
