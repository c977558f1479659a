"""Bridges over sentences: no facts are needed, only the names in the best passages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.graph.ppr import Mass
from mnemodex.retrievers.graph.linking import best
from mnemodex.retrievers.graph.rewriting import ask, through_passages
from mnemodex.retrievers.graph.space import Activation, Scored
from mnemodex.retrievers.graph.spreading import spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnemodex.retrievers.graph.space import Space

_PASSAGES = 5
"""Passages whose sentences are taken for facts."""


class BridgeLite:
    """Multi-hop retrieval without facts and without a language model (our own).

    Each sentence of the best passages is taken for a fact that joins the names in it; through these the question is
    rewritten and asked again as in `Bridge`. Then walks start at passages, and go from passage to name to passage.
    Without such a graph there is no walk, and where no sentence gives a rewrite the scores are the cosines.
    """

    def score(self, space: Space, questions: Sequence[str], vectors: NDArray[np.float32]) -> Scored:
        """Rank all passages; see `Method`."""
        scores = space.dense(vectors).copy()
        top = best(scores, _PASSAGES)
        rewrites = []
        for question, cosines, passages in zip(questions, scores, top, strict=True):
            low, high = cosines.min(), cosines.max()
            scaled = (cosines[passages] - low) / max(high - low, np.finfo(np.float32).tiny)
            rewrites.append(through_passages(question, space.read(passages), scaled.tolist(), space.words))
        asked = ask(space, rewrites, scores)
        entities: list[list[tuple[int, float]]] = [[] for _ in questions]
        fallback = None if len(space.graph.indices) else "the graph has no edges"
        if fallback is None:
            nowhere = Mass(np.zeros(0, np.int64), np.zeros(0))
            scores, entities = spread(space.walk("mention"), space.graph, scores, [nowhere] * len(questions))
        activations = [
            Activation(rewrites=asked.of(row), entities=entities[row], fallback=fallback)
            for row in range(len(questions))
        ]
        return Scored(scores, activations)
