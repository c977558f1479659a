"""What a method of graph retrieval is, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Float32s, Floats
    from mnemodex.retrievers.graph.space import Space


@dataclass(frozen=True, slots=True)
class Activation:
    """The evidence for an answer: what `search --explain` prints and a picture draws.

    Attributes:
        facts: numbers of the facts that were linked to the question, with their scores, best first.
        rewrites: the expanded queries that were searched too, with their best scores, in the order of their rounds.
        entities: numbers of the entities with the most probability, and this; best first.
        fallback: why the graph was not used, if it was not.
        linked: numbers of the entities that names in the question were linked to.
        left_out: what was not asked, and why.
    """

    facts: list[tuple[int, float]] = field(default_factory=list)
    rewrites: list[tuple[str, float]] = field(default_factory=list)
    entities: list[tuple[int, float]] = field(default_factory=list)
    fallback: str | None = None
    linked: list[int] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


class Scored(NamedTuple):
    """The answer of a method to a batch of questions."""

    scores: Float32s
    """Shape (questions, passages), higher is better."""
    activations: list[Activation]


class Method(Protocol):
    """A way of ranking passages by a graph."""

    def score(self, space: Space, questions: Sequence[str], vectors: Float32s) -> Scored:
        """Rank all passages for a batch of questions, whose vectors are float32 of shape (questions, dimension)."""


def min_max(scores: Floats) -> Floats:
    """Stretch scores from 0 to 1 along the last axis; equal scores become 1."""
    if not scores.size:
        return scores
    low, high = scores.min(axis=-1, keepdims=True), scores.max(axis=-1, keepdims=True)
    return np.where(high > low, (scores - low) / np.where(high > low, high - low, 1), 1)


def most_probable(probabilities: Floats, entities: int, k: int = 10) -> list[tuple[int, float]]:
    """Return the entities with the most probability, best first, and this; none without any."""
    # A walk meets few of the entities of a large graph.
    met = np.flatnonzero(probabilities[:entities])
    best = met[top_k(probabilities[met], k)]
    return list(zip(best.tolist(), probabilities[best].tolist(), strict=True))


def after(reached: Floats, dense: Floats) -> Float32s:
    """Return scores of passages: what reached them on the walk, and 0 or less, by their cosines, where nothing did."""
    return np.where(reached > 0, reached, min_max(dense) - 1).astype(np.float32)
