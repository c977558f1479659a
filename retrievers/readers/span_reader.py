"""Answers that a model marks in passages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.indexers.models.spans import SpanModel
from mnemodex.schemas.errors import NoAnswerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.readers.passage_reader import Passages

_TOKENS = 30
"""Of an answer."""


class SpanReader:
    """A transformers model for extractive question answering, which reads each passage of a question by itself.

    The answer is the span, of all passages, that scores most above its window's score of no answer; where none scores
    above it, there is no answer. Passages of one batch are read together by their lengths, and long ones in windows
    (`SpanModel`). A title is a line before the text, and an answer may be in it.

    Raises:
        ModelError: there is no such model, or it marks no spans.
    """

    def __init__(self, model: str, *, threads: int | None = None) -> None:
        self._name = model
        self._model = SpanModel(model, threads=threads)

    def read(self, questions: Sequence[str], passages: Sequence[Passages]) -> list[str | NoAnswerError | None]:
        """Return an answer to each question; see `PassageReader`."""
        owners = [number for number, some in enumerate(passages) for _ in some]
        texts = [f"{title}\n{text}" if title else text for some in passages for title, text in some]
        marked = self._model.mark(texts, [questions[owner] for owner in owners], top=1, max_tokens=_TOKENS)
        answers: list[str | NoAnswerError | None] = [None] * len(questions)
        margins = [0.0] * len(questions)
        for owner, text, spans in zip(owners, texts, marked, strict=True):
            if spans is None:
                problem = "the question leaves no room for a passage; shorten it, or take a model that reads more"
                answers[owner] = NoAnswerError(f"model {self._name!r}: {problem}")
            elif spans and spans[0].margin > margins[owner]:
                margins[owner] = spans[0].margin
                answers[owner] = text[spans[0].start : spans[0].end]
        return answers
