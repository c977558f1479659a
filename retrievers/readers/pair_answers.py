"""Answers to questions, and the pairs that they were read from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnemodex.retrievers.qa.hits import Pair


@dataclass(frozen=True, slots=True)
class PairAnswered:
    """One question with its answer.

    Attributes:
        answer: in a few words; None where there is none.
        pairs: the pairs that it was read from, best first.
        dropped: how many pairs were found too, but left out for being longer than the model reads.
        prompt_tokens: tokens that a model read for it.
        completion_tokens: tokens that it wrote.
        error: why there is no answer, if a model was asked.
    """

    question: str
    answer: str | None
    pairs: tuple[Pair, ...]
    dropped: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it for printing; pairs as `search --json` prints them."""
        return {
            "question": self.question,
            "answer": self.answer,
            "pairs": [pair.to_json() for pair in self.pairs],
            "dropped": self.dropped,
            "tokens": {"prompt": self.prompt_tokens, "completion": self.completion_tokens},
            "error": self.error,
        }
