"""What a reader of passages is: questions with passages in, an answer to each out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.schemas.errors import NoAnswerError

Passages = list[tuple[str, str]]
"""The passages of a question, best first: a title, which may be empty, and a text."""


class PassageReader(Protocol):
    """Answers questions from passages."""

    def read(self, questions: Sequence[str], passages: Sequence[Passages]) -> Sequence[str | NoAnswerError | None]:
        """Return an answer to each question from its passages.

        It is None where the reader finds none in them, and a `NoAnswerError` where the reader failed at the question
        (a server that did not answer, passages that a model cannot read), which is no judgement of the passages.
        """
