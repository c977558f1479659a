"""What a reader of passages is: questions with passages in, an answer to each out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from mnemodex.indexers.models.locate import locate
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.schemas.errors import NoAnswerError

_TOKENS = 32
"""Of an answer that a language model writes."""

Passages = list[tuple[str, str]]
"""The passages of a question, best first: a title, which may be empty, and a text."""


class PassageReader(Protocol):
    """Answers questions from passages."""

    def read(self, questions: Sequence[str], passages: Sequence[Passages]) -> Sequence[str | NoAnswerError | None]:
        """Return an answer to each question from its passages.

        It is None where the reader finds none in them, and a `NoAnswerError` where the reader failed at the question
        (a server that did not answer, passages that a model cannot read), which is no judgement of the passages.
        """


def open_reader(model: str, *, threads: int | None = None) -> PassageReader:
    """Return the reader of a model's kind: a span model, an encoder-decoder or a causal model of transformers.

    Args:
        model: a folder, a hub id, or `pkg:MODULE/FILE`.
        threads: torch's CPU threads; all that torch finds by default.

    Raises:
        ModelError: there is no such model, or it is of no such kind.
    """
    from mnemodex.retrievers.readers.chat_reader import ChatReader
    from mnemodex.retrievers.readers.local_chat import LocalChat
    from mnemodex.retrievers.readers.span_reader import SpanReader

    if any(kind.endswith("ForQuestionAnswering") for kind in _architectures(model)):
        return SpanReader(model, threads=threads)
    return ChatReader(LocalChat(model, max_tokens=_TOKENS, threads=threads))


def _architectures(model: str) -> list[str]:
    """Return the classes of transformers that a model was saved as; none where its configuration does not say."""
    file = locate(model) / "config.json"
    try:
        config: Any = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise ModelError(f"model {model!r}: {file} is not JSON ({error}); fetch the model again") from error
    return list(config.get("architectures") or [])
