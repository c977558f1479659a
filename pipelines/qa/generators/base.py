"""What a generator is: chunks in, question-answer pairs of each of them out. Testable without Ray."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.pipelines.ops.base import Work


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk; `source` and `line` say where its document was read."""

    title: str
    text: str
    source: str = ""
    line: int = 1


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

    `problems` are reasons for what is missing (an answer without a usable question, a server that did not answer); they
    count against the recipe's `max_errors`.
    """

    candidates: list[Candidate] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class AnswerFinder(Protocol):
    """Finds answers in chunks."""

    def find(self, passages: Sequence[Passage]) -> list[list[Span]]:
        """Return the answers of each chunk, best first, without overlaps of the same characters."""


class Generator(Protocol):
    """Asks questions about chunks."""

    version: ClassVar[int] = 1
    """Part of every fingerprint: raised when the output changes."""
    finds_answers: ClassVar[bool] = False
    """Whether it finds answers by itself; else the recipe's `answers` says how, in a step before."""

    def __init__(self, settings: Any, work: Work) -> None:
        """Take the recipe's section and what an op may use; load what is needed, once a worker."""

    @classmethod
    def check(cls, settings: Any) -> None:
        """Refuse settings whose models or packages are missing, with a `MnemodexError`, before any work."""

    @classmethod
    def probe(cls, settings: Any, work: Work) -> list[str]:
        """Ask the server of the settings one question, before any work; return warnings.

        Raises:
            MnemodexError: it does not answer.
        """
        return []

    def generate(self, passages: Sequence[Passage], answers: Sequence[Sequence[Span]]) -> list[Generated]:
        """Return pairs of each chunk; `answers` has no spans for a generator that finds them itself."""

    def counts(self) -> dict[str, int]:
        """Return counts of the partition for its stats: tokens, answers."""
        return {}
