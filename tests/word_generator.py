"""A generator of a package, which asks what stands before each word; and a finder and a scorer like it.

A text that begins with `fail` fails.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mnemodex.pipelines.qa.generators.base import (
    AnswerFinder,
    Candidate,
    Generated,
    Generator,
    PassageScorer,
    Span,
)
from mnemodex.schemas.kinds import Component
from mnemodex.schemas.pair_sections import AnswerSpans, GeneratedPairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnemodex.pipelines.ops.base import Work
    from mnemodex.pipelines.qa.generators.base import Passage


class WordPairs(GeneratedPairs):
    """`generator: words`, and a word that every question ends with."""

    generator: Literal["words"]
    ending: str = ""


class SpanPairs(GeneratedPairs):
    """`generator: spans`, which is given its answers."""

    generator: Literal["spans"]
    answers: AnswerSpans = AnswerSpans()


class Calls:
    """What was asked since a test emptied the lists, in this process."""

    generated: list[str] = []  # noqa: RUF012 - one list for all
    found: list[str] = []  # noqa: RUF012
    scored: list[str] = []  # noqa: RUF012

    @classmethod
    def clear(cls) -> None:
        for called in (cls.generated, cls.found, cls.scored):
            called.clear()


class WordGenerator(Generator):
    finds_answers = True

    def __init__(self, settings: Any, work: Work) -> None:
        self._settings = settings
        self._asked = 0

    def generate(self, passages: Sequence[Passage], answers: Sequence[Sequence[Span]]) -> list[Generated]:
        Calls.generated.extend(passage.text for passage in passages)
        self._asked += len(passages)
        return [self._ask(passage.text) for passage in passages]

    def counts(self) -> dict[str, int]:
        return {"asked": self._asked}

    def _ask(self, text: str) -> Generated:
        words = list(re.finditer(r"\w+", text))
        if text.startswith("fail"):
            return Generated(problems=["the words have failed; use others"])
        spans = [(word, Span(*before.span(), "word", -1.0)) for before, word in pairwise(words)]
        ending = f" {self._settings.ending}" if self._settings.ending else ""
        questions = [
            Candidate(f"What stands before {w[0]}{ending}?", span, -float(n)) for n, (w, span) in enumerate(spans)
        ]
        return Generated(questions)


class SpanGenerator(WordGenerator):
    finds_answers = False

    def generate(self, passages: Sequence[Passage], answers: Sequence[Sequence[Span]]) -> list[Generated]:
        Calls.generated.extend(passage.text for passage in passages)
        return [
            Generated([Candidate(f"Which word is it, of {len(passage.text)} letters?", span, -0.5) for span in spans])
            for passage, spans in zip(passages, answers, strict=True)
        ]


class Capitals(AnswerFinder):
    """Words with a capital."""

    def __init__(self, settings: Any, work: Work) -> None:
        self._most = settings.max_answers

    def find(self, passages: Sequence[Passage]) -> list[list[Span]]:
        Calls.found.extend(passage.text for passage in passages)
        found = [re.finditer(r"\b[A-Z]\w*", passage.text) for passage in passages]
        return [[Span(*word.span(), "capital", -0.25) for word in words][: self._most] for words in found]


class Lengths(PassageScorer):
    """Scores texts by how many words they lack of eight."""

    def __init__(self, settings: Any, work: Work) -> None:
        self.cut = 0

    def score(self, passages: Sequence[Passage]) -> NDArray[np.float32]:
        Calls.scored.extend(passage.text for passage in passages)
        return np.array([min(len(passage.text.split()) - 8, 0) / 8 for passage in passages], np.float32)


WORDS = Component("word_generator:WordPairs", "word_generator:WordGenerator")
SPANS = Component("word_generator:SpanPairs", "word_generator:SpanGenerator")
