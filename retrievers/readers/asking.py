"""Conversations with any model, shortened where it reads less than it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from mnemodex.schemas.errors import TooLongError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnemodex.indexers.models.chat import Answer, Messages
    from mnemodex.schemas.errors import NoAnswerError


class Model(Protocol):
    """A model that answers conversations: `Chat` for one behind a server, `LocalChat` for one of this machine."""

    def ask_many(self, conversations: Sequence[Messages]) -> Sequence[Answer | NoAnswerError]:
        """Return answers, or the reasons why there are none, in the same order."""


class Reply(NamedTuple):
    """What a model answered to a question about some parts, and how many of them, from the first on, it read."""

    answer: Answer | NoAnswerError
    read: int


def ask_about(model: Model, parts: Sequence[Sequence[str]], write: Callable[[int, int], Messages]) -> list[Reply]:
    """Ask a question about each list of parts, of which the last ones are left out until the model can read the rest.

    Where the model says by how much a conversation is too long, no more parts are left out than needed; else, as of
    servers, half of them at a time. With one part that is too long, the reply is the `TooLongError`.

    Args:
        model: is asked all questions at once, and again those that were too long.
        parts: the texts about which each question is, best first.
        write: returns the conversation of a question, by its number, about some of its first parts, by their number.

    Raises:
        ChatServerError: the model's server answers no question.
    """
    read = list(map(len, parts))
    replies: dict[int, Reply] = {}
    pending = list(range(len(parts)))
    while pending:
        answers = model.ask_many([write(number, read[number]) for number in pending])
        replies |= {number: Reply(answer, read[number]) for number, answer in zip(pending, answers, strict=True)}
        pending = [
            number
            for number, answer in zip(pending, answers, strict=True)
            if isinstance(answer, TooLongError) and read[number] > 1
        ]
        for number in pending:
            answer = replies[number].answer
            excess = answer.excess if isinstance(answer, TooLongError) else None
            read[number] = _shorten(parts[number][: read[number]], excess)
    return [replies[number] for number in range(len(parts))]


def _shorten(parts: Sequence[str], excess: int | None) -> int:
    """Return how many parts to try next: fewer than there are, but one at least."""
    if excess is None:
        return len(parts) // 2
    kept = len(parts)
    # No token is shorter than a byte.
    while kept > 1 and excess > 0:
        kept -= 1
        excess -= len(parts[kept].encode())
    return kept
