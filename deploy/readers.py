"""The models of a server that write answers: behind another server, or of this machine."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag

from mnemodex.schemas.errors import NoAnswerError, QueryError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mnemodex.indexers.models.chat import Answer, Chat, Messages
    from mnemodex.retrievers.readers.asking import Model

PAIRS = "pairs"
"""The reader without a model: the answer of the best pair."""
_RETRIES = 2
_TOKENS = 256
"""Of an answer of a model of this machine."""


@dataclass(frozen=True)
class Readers:
    """The models by their names; the first one answers where none is named.

    Attributes:
        models: that are asked.
        hidden: what errors of each may name, such as an address, and who asks should not learn.
    """

    models: Mapping[str, Model]
    hidden: Mapping[str, str]

    @classmethod
    def open(cls, named: Mapping[str, str], *, seconds: float) -> Readers:
        """Load models of this machine, and prepare to ask servers.

        Args:
            named: of each name a model, as `name_readers` gives them.
            seconds: that a server may take for an answer.

        Raises:
            ModelError: there is no such model.
            MissingExtraError: what asks servers is not installed.
        """
        models = {name: _open(model, seconds) for name, model in named.items()}
        return cls(models, {name: urldefrag(model).url for name, model in named.items()})

    def say(self, name: str, error: str) -> str:
        """Return what is wrong at a model, without where that is."""
        hidden = self.hidden[name]
        return error.replace(hidden, f"reader {name!r}") if "/" in hidden else error

    def find(self, name: str | None) -> tuple[str, Model]:
        """Return a model and its name.

        Raises:
            QueryError: there is none of that name, or none at all.
        """
        if not self.models:
            raise QueryError("reader: the server has no model that writes answers. Start it with --reader NAME=MODEL")
        chosen = next(iter(self.models)) if name is None else name
        if chosen not in self.models:
            raise QueryError(f"reader: none is called {chosen!r}. Name one of {', '.join(map(repr, self.models))}")
        return chosen, self.models[chosen]


class Watched:
    """A model of a server, what it writes of which is seen as it comes.

    Args:
        model: the model.
        watch: is given the next words that it writes, in another thread.
    """

    def __init__(self, model: Chat, watch: Callable[[str], None]) -> None:
        self._model = model
        self._watch = watch

    def ask_many(self, conversations: Sequence[Messages]) -> list[Answer | NoAnswerError]:
        """Ask one after the other: words of several answers would mix."""
        return list(map(self._ask, conversations))

    def _ask(self, messages: Messages) -> Answer | NoAnswerError:
        try:
            return self._model.ask(messages, watch=self._watch)
        except NoAnswerError as error:
            return error


class _OneAtATime:
    """A model that one thread asks at a time."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._lock = threading.Lock()

    def ask_many(self, conversations: Sequence[Messages]) -> Sequence[Answer | NoAnswerError]:
        with self._lock:
            return self._model.ask_many(conversations)


def name_readers(arguments: Sequence[str]) -> dict[str, str]:
    """Return the models of `NAME=MODEL` by their names: a folder, a hub id, `pkg:MODULE/FILE`, or `URL#MODEL`.

    Raises:
        UserError: one has no name or no model, or two have one name.
    """
    named: dict[str, str] = {}
    for argument in arguments:
        name, _, model = argument.partition("=")
        if not name or not model or "/" in name or ":" in name:
            raise UserError(f"--reader {argument}: has no name. Write NAME=MODEL, or NAME=http://HOST:PORT/v1#MODEL")
        if name == PAIRS:
            raise UserError(f"--reader {argument}: {PAIRS!r} is the reader without a model. Take another name")
        if name in named:
            raise UserError(f"--reader {argument}: two readers are called {name!r}. Give one another name")
        if _is_url(model) and not urldefrag(model).fragment:
            raise UserError(f"--reader {argument}: does not say which model of the server. Write {name}=URL#MODEL")
        named[name] = model
    return named


def _is_url(model: str) -> bool:
    return model.startswith(("http://", "https://"))


def _open(model: str, seconds: float) -> Any:
    from mnemodex.indexers.models.chat import Chat
    from mnemodex.retrievers.readers.local_chat import LocalChat

    if not _is_url(model):
        return _OneAtATime(LocalChat(model, max_tokens=_TOKENS))
    url, name = urldefrag(model)
    return Chat(url, name, timeout=seconds, max_retries=_RETRIES)
