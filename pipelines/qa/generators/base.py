"""What a generator is: chunks in, question-answer pairs of each of them out. Testable without Ray."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from mnemodex.pipelines.component import RecipeComponent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Float32s
    from mnemodex.pipelines.ops.base import Work


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk: its title and its text."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Span:
    """A possible answer: the characters `start` to `end` of a chunk's text.

    `kind` is what it is (an entity's label, `noun_chunk`, `span`, or a rule's name), `score` a log-probability.
    """

    start: int
    end: int
    kind: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A question with its answer, which is not filtered yet; `score` is the log-probability of the question."""

    question: str
    answer: Span
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Generated:
    """The candidates of one chunk, best first.

    `problems` are reasons for what is missing (an answer without a usable question, a server that did not answer).
    Chunks that have problems and no candidates count against the recipe's `max_errors`.
    """

    candidates: list[Candidate] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class PassageScorer(Protocol):
    """Says how much chunks are worth asking about.

    Attributes:
        cut: how many chunks were too long so far, and are judged by their beginning.
    """

    cut: int
    version: ClassVar[int] = 1
    """Part of every fingerprint: raised when the scores change."""

    def __init__(self, settings: Any, work: Work) -> None:
        """Take the recipe's `passages` and what an op may use; load what is needed, once a worker."""

    def score(self, passages: Sequence[Passage]) -> Float32s:
        """Return log-probabilities, float32 of shape (passages,)."""


class AnswerFinder(Protocol):
    """Finds answers in chunks."""

    version: ClassVar[int] = 1
    """Part of every fingerprint: raised when the answers change."""

    def __init__(self, settings: Any, work: Work) -> None:
        """Take the recipe's `answers` and what an op may use; load what is needed, once a worker."""

    def find(self, passages: Sequence[Passage]) -> list[list[Span]]:
        """Return the answers of each chunk, best first, without overlaps of the same characters."""


class Generator(RecipeComponent, Protocol):
    """Asks questions about chunks."""

    finds_answers: ClassVar[bool] = False
    """Whether it finds answers by itself; else the recipe's `answers` says how, in a step before."""

    def generate(self, passages: Sequence[Passage], answers: Sequence[Sequence[Span]]) -> list[Generated]:
        """Return pairs of each chunk; `answers` has no spans for a generator that finds them itself."""

    def counts(self) -> dict[str, int]:
        """Return counts of all that it generated so far: tokens, answers."""
        return {}
