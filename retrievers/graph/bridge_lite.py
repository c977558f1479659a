"""Bridges over sentences: no facts are needed, only the names in the best passages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.retrievers.graph.ppr import Mass
from mnemodex.retrievers.graph.rewriting import ask, through_best
from mnemodex.retrievers.graph.space import Activation, Scored
from mnemodex.retrievers.graph.spreading import spread
from mnemodex.retrievers.graph.walker import Walker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnemodex.retrievers.graph.space import Space


class BridgeLite:
    """Multi-hop retrieval without facts and without a language model (our own).

    Each sentence of the best passages is taken for a fact that joins the names in it; through these the question is
    rewritten and asked again as in `Bridge`. Then walks start at passages, and go from passage to name to passage.
    Without such a graph there is no walk, and where no sentence gives a rewrite the scores are the cosines.

    Args:
        walker: how to walk; by `push` over mentions without it.
    """

    def __init__(self, *, walker: Walker | None = None) -> None:
        self.walker = walker or Walker("push", fact=0, synonym=0)

    def score(self, space: Space, questions: Sequence[str], vectors: NDArray[np.float32]) -> Scored:
        """Rank all passages; see `Method`."""
        scores = np.array(space.dense(vectors))
        rewrites = [through_best(space, *asking) for asking in zip(questions, scores, strict=True)]
        asked = ask(space, rewrites, scores)
        nowhere = Mass(np.zeros(0, np.int64), np.zeros(0))
        entities, fallback = spread(self.walker, space.graph, scores, [nowhere] * len(questions))
        return Scored(
            scores,
            [
                Activation(rewrites=asked.of(row), entities=entities[row], fallback=fallback)
                for row in range(len(questions))
            ],
        )
