"""Answers that a language model writes from passages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.indexers.models.chat import Answer
from mnemodex.retrievers.readers.asking import ask_about
from mnemodex.retrievers.readers.hippo_reader import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.models.chat import Messages
    from mnemodex.retrievers.readers.asking import Model
    from mnemodex.retrievers.readers.passage_reader import Passages
    from mnemodex.schemas.errors import NoAnswerError

_NONE = "unknown"
_TASK = (
    "Answer the question by words of the passages: as few as possible, such as a name, a date or a number, and nothing "
    f"else. If the passages do not answer it, write {_NONE}."
)
_EXAMPLE = (
    "Dunmarrow\nDunmarrow is a port at the mouth of the River Aske. Its town hall was finished in 1902.\n\n"
    "Question: When was the town hall of Dunmarrow finished?\nAnswer:"
)


class ChatReader:
    """Lets a model of conversations (`LocalChat`, `Chat`) answer from passages, all of a question's at once.

    Where they are longer than the model reads, the last ones are left out; a question of which it cannot read the
    first passage has an error. Where the model writes "unknown", it finds no answer.

    Attributes:
        dropped: how many passages were left out so far.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.dropped = 0

    def read(self, questions: Sequence[str], passages: Sequence[Passages]) -> list[str | NoAnswerError | None]:
        """Return an answer to each question; see `PassageReader`.

        Raises:
            ChatServerError: the model's server answers no question.
        """
        asked = [number for number, some in enumerate(passages) if some]
        texts = [[f"{title}\n{text}" if title else text for title, text in passages[number]] for number in asked]
        replies = ask_about(self._model, texts, lambda n, read: _conversation(questions[asked[n]], texts[n][:read]))
        answers: list[str | NoAnswerError | None] = [None] * len(questions)
        for number, some, reply in zip(asked, texts, replies, strict=True):
            self.dropped += len(some) - reply.read
            answers[number] = first_line(reply.answer) if isinstance(reply.answer, Answer) else reply.answer
            if answers[number] in ("", _NONE, _NONE.capitalize()):
                answers[number] = None
        return answers


def first_line(answer: Answer) -> str:
    """Return the answer in what a model wrote: one line, without a full stop."""
    lines = parse(answer.text).answer.strip().splitlines()
    return lines[0].strip().removesuffix(".") if lines else ""


def _conversation(question: str, passages: Sequence[str]) -> Messages:
    blocks = "".join(f"{passage}\n\n" for passage in passages)
    return [
        {"role": "system", "content": _TASK},
        {"role": "user", "content": _EXAMPLE},
        {"role": "assistant", "content": "1902"},
        {"role": "user", "content": f"{blocks}Question: {question}\nAnswer:"},
    ]
