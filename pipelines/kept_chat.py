"""Questions to a model behind a server, whose answers are kept."""

from __future__ import annotations

import threading
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

from mnemodex.indexers.models.chat import Answer, Chat
from mnemodex.pipelines.answers import Answers
from mnemodex.schemas.errors import ChatServerError, NoAnswerError
from mnemodex.schemas.manifest import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mnemodex.indexers.models.chat import Messages, Schema
    from mnemodex.schemas.pair_sections import LlmPairs
    from mnemodex.schemas.sections import LlmTriples
    from mnemodex.schemas.store.store import Store

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class UnusableError(Exception):
    """An answer that cannot be read: the reason, and the answer."""


class KeptChat:
    """Asks a model of a server, and keeps every answer, good or bad (`Answers`).

    It is found under the model, its options, the words of the question and the schema. The methods may be called from
    several threads.

    Args:
        chat: the server.
        model: the model's name there.
        options: what of a request decides the answer.
        store: the memory that keeps answers.
        retry: raised, it asks again where there was no usable answer.

    Attributes:
        counts: answers that were read, how many of them the server was asked for, and their tokens.
    """

    def __init__(self, chat: Chat, model: str, options: Mapping[str, object], store: Store, *, retry: int = 0) -> None:
        self._chat = chat
        self._model, self._options, self._retry = model, dict(options), retry
        self._answers = Answers(store)
        self._lock = threading.Lock()
        self.reset()

    @classmethod
    def of(cls, settings: LlmTriples | LlmPairs, store: Store) -> Self:
        """Return one that asks as a recipe's section says."""
        options = settings.model_dump(include={"temperature", "max_tokens"}, exclude_none=True)
        server = {"base_url", "model", "api_key_env", "timeout", "max_retries", "concurrency"}
        chat = Chat(**settings.model_dump(include=server), options=options)
        return cls(chat, settings.model, options, store, retry=settings.retry)

    def reset(self) -> None:
        """Begin to count."""
        self.counts = Counter[str](answers=0, asked=0, prompt_tokens=0, completion_tokens=0)

    def at_once(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
        """Apply a function that asks to several items; see `Chat.at_once`."""
        return self._chat.at_once(function, items)

    def ask(self, messages: Messages, schema: Schema | None, read: Callable[[str], _Result]) -> _Result:
        """Return what `read` makes of the first usable answer among the kept ones, else of the last try's, new or kept.

        Raises:
            UnusableError: `read` refuses the last one by a `ValueError`.
            NoAnswerError: the server does not answer the question.
            ChatServerError: the server answers no question.
        """
        key = partial(fingerprint, self._model, self._options, messages, schema)
        for retry in range(self._retry):
            answer = self._answers.find(key(retry))
            try:
                if answer is not None:
                    return self._read(answer, read)
            except UnusableError:
                continue
        last = key(self._retry)
        answer = self._answers.find(last)
        if answer is None:
            answer = self._chat.ask(messages, schema=schema)
            self._answers.keep(last, answer)
            self._count(asked=1)
        return self._read(answer, read)

    def ask_many(self, conversations: Sequence[Messages]) -> list[Answer | NoAnswerError]:
        """Return an answer to each question, kept or new, or why there is none; for readers, as `Chat.ask_many`."""

        def attempt(messages: Messages) -> Answer | NoAnswerError:
            try:
                return Answer(self.ask(messages, None, str), 0, 0)
            except NoAnswerError as error:
                return error

        return self.at_once(attempt, conversations)

    def probe(self, section: str, messages: Messages, schema: Schema, read: Callable[[str], object]) -> list[str]:
        """Ask a question before a build, and close the connections; return warnings of what the server refuses.

        Raises:
            ChatServerError: the server does not answer it.
        """
        try:
            self.ask(messages, schema, read)
        except UnusableError:
            # A server that answers; how well is judged by the share of its failures.
            pass
        except NoAnswerError as error:
            raise ChatServerError(f"{section}: {error}. Nothing is computed: correct that, and build again") from error
        finally:
            self._chat.close()
        refused = ", ".join(self._chat.left_out)
        return [f"{section}: {self._chat.base_url} refuses {refused}; it is asked without"] if refused else []

    def _read(self, answer: Answer, read: Callable[[str], _Result]) -> _Result:
        self._count(answers=1, prompt_tokens=answer.prompt_tokens, completion_tokens=answer.completion_tokens)
        try:
            return read(answer.text)
        except ValueError as error:
            reason = f"{error}; it was cut at the limit of tokens: raise max_tokens" if answer.cut else str(error)
            raise UnusableError(reason, answer.text) from error

    def _count(self, **counts: int) -> None:
        with self._lock:
            self.counts.update(counts)


def conversation(task: str, example: tuple[str, str], question: str) -> Messages:
    """Return a task, an example of a question with its answer, and a question."""
    turns = [("system", task), ("user", example[0]), ("assistant", example[1]), ("user", question)]
    return [{"role": role, "content": text} for role, text in turns]


def object_schema(**properties: object) -> dict[str, object]:
    """Return the JSON schema of an object that has some properties, and no others."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
