"""What a method of graph retrieval works with, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mnemodex.indexers.graph.graph import Graph
    from mnemodex.indexers.graph.words import WordCounts


class Passage(NamedTuple):
    """A passage's texts."""

    title: str
    text: str


class Space(Protocol):
    """The graph, its texts and its vectors. Vectors have length 1, so that dot products are cosines.

    Attributes:
        graph: the arrays.
        fact_vectors: float32 of shape (facts, dimension), of the text "subject predicate object"; mapped.
        entity_vectors: float32 of shape (entities, dimension), of their names; mapped.
        words: in how many passages each word stands.
    """

    graph: Graph

    @property
    def fact_vectors(self) -> NDArray[np.float32]:
        """See the class."""

    @property
    def entity_vectors(self) -> NDArray[np.float32]:
        """See the class."""

    @property
    def words(self) -> WordCounts:
        """See the class."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of questions, float32 of shape (texts, dimension)."""

    def dense(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The cosine of every passage: float32 of shape (vectors, passages)."""

    def names(self, entities: Sequence[int]) -> list[str]:
        """The names of entities, given by number."""

    def facts(self, facts: Sequence[int]) -> list[tuple[str, str, str]]:
        """Subject, predicate and object of facts, given by number."""

    def read(self, passages: Sequence[int]) -> list[Passage]:
        """Title and text of passages, given by number (0 is the first passage, not a node)."""


@dataclass(frozen=True, slots=True)
class Activation:
    """Why a question was answered so: what `search --explain` prints and a picture draws.

    Attributes:
        facts: numbers of the facts that were linked to the question, with their scores, best first.
        rewrites: the questions that were asked in its place, with their weights.
        entities: numbers of the entities with the most probability, and this; best first.
        fallback: why the graph was not asked, if it was not.
    """

    facts: list[tuple[int, float]] = field(default_factory=list)
    rewrites: list[tuple[str, float]] = field(default_factory=list)
    entities: list[tuple[int, float]] = field(default_factory=list)
    fallback: str | None = None


class Scored(NamedTuple):
    """The answer of a method to a batch of questions."""

    scores: NDArray[np.float32]
    """Shape (questions, passages), higher is better."""
    activations: list[Activation]


class Method(Protocol):
    """A way of ranking passages by a graph."""

    def score(self, space: Space, questions: Sequence[str], vectors: NDArray[np.float32]) -> Scored:
        """Rank all passages.

        Args:
            space: the graph with its vectors and texts.
            questions: a batch.
            vectors: float32 of shape (questions, dimension): theirs.
        """
