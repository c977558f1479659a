"""Clients of servers that speak OpenAI's protocol, and language models behind them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mnemodex.indexers.models.locate import need
from mnemodex.indexers.models.parsing import strip_thinking
from mnemodex.schemas.errors import ChatServerError, ModelError, NoAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from openai import APIConnectionError, APIStatusError, OpenAI

    from mnemodex.schemas.sections import ServedEmbedding

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

Messages = list[dict[str, str]]
"""A conversation: `{"role": "system" | "user" | "assistant", "content": TEXT}` each."""

_FORMATS = ("json_schema", "json_object", "text")
"""Formats of an answer that has a schema; a server that does not know one is asked for the next."""

_FATAL = (401, 403, 404, 429)
"""Statuses with which a server answers every question alike."""


class Server(NamedTuple):
    """A model of a server, asked with a timeout in seconds; the settings of a served encoder have the same fields."""

    base_url: str
    model: str
    api_key_env: str
    timeout: float
    max_retries: int


def open_client(server: Server | ServedEmbedding) -> OpenAI:
    """Return a client of a server.

    Without the extra `llm` it is a `MissingExtraError`; an environment variable that holds what no key can be, a
    `ModelError`.
    """
    need("openai", extra="llm")
    import openai

    # A key that was read from a file often ends with a line break.
    key = os.environ.get(server.api_key_env, "").strip()
    if not (key.isascii() and key.isprintable()):
        # The client would say so too, with the key in its message.
        raise ModelError(
            f"the environment variable {server.api_key_env} holds what no key can be, a line break or letters beyond "
            "ASCII; set it to the key alone"
        )
    # The client refuses to start without a key, although the server may not ask for one.
    return openai.OpenAI(
        base_url=server.base_url, api_key=key or "none", timeout=server.timeout, max_retries=server.max_retries
    )


def describe_failure(error: APIConnectionError | APIStatusError, server: Server | ServedEmbedding) -> str:
    """Return a message that says why a server does not answer, and what to do where that is known."""
    import openai

    if not isinstance(error, openai.APIStatusError):
        return f"{server.base_url}: cannot be reached ({error.__cause__ or error}); start the server, or check base_url"
    status = error.status_code
    failure = f"{server.base_url} answers {status} ({shorten(error)})"
    if status in (401, 403):
        return f"{failure}; put its key into the environment variable {server.api_key_env}"
    if status == 404:
        return f"{failure}; check base_url, which often ends in /v1, and model {server.model!r}"
    if status == 429 or status >= 500:
        failure = f"{failure}, asked {server.max_retries + 1} times"
    return f"{failure}; lower concurrency or raise max_retries, or check the account" if status == 429 else failure


def shorten(error: Exception) -> str:
    """Return the first words of an error, on one line."""
    return " ".join(str(error).split())[:300]


@dataclass(frozen=True, slots=True)
class Answer:
    """A text that a model wrote, without what it thought (`strip_thinking`).

    Attributes:
        text: empty where the model only thought.
        prompt_tokens: tokens of the conversation, as the server counted them; 0 where it does not say.
        completion_tokens: tokens of the answer.
        cut: whether the answer ends at the limit of tokens, and not where the model ended it.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    cut: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", strip_thinking(self.text))


class Chat:
    """One model of one server. Its methods may be called from several threads.

    Rate limits (429), failures of the server (5xx) and lost connections are tried again by OpenAI's client, after as
    long as the server's `Retry-After` says, else after a time that doubles, with jitter.

    Args:
        base_url: the server, with its `/v1`.
        model: the model's name there.
        api_key_env: the environment variable that holds the key; servers of one's own often want none.
        timeout: seconds that an answer may take.
        max_retries: how often a question is asked again.
        concurrency: questions that are asked at once.
        options: further keys of every request, such as `temperature` (0 by default) and `max_tokens`.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key_env: str = "OPENAI_API_KEY",
        timeout: float = 120.0,
        max_retries: int = 5,
        concurrency: int = 8,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._server = Server(base_url, model, api_key_env, timeout, max_retries)
        self._concurrency = concurrency
        self._options: dict[str, Any] = {"temperature": 0.0, **(options or {})}
        self._format = 0
        self._client = open_client(self._server)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, messages: Messages, *, schema: dict[str, Any] | None = None) -> Answer:
        """Ask one question, by a conversation.

        With a JSON schema of the answer, the conversation should also say that the answer is JSON, and of which form,
        for servers that do not know schemas.

        Raises:
            ChatServerError: no question can be answered: the server is not there, or refuses the key or the model.
            NoAnswerError: this question is not answered.
        """
        if schema is None:
            return self._ask(messages, {})
        while (answer := self._ask_in_format(self._format, messages, schema)) is None:
            pass
        return answer

    def ask_many(self, conversations: Sequence[Messages]) -> list[Answer | NoAnswerError]:
        """Ask several questions, some at once; return answers, or why there are none, in the same order."""

        def attempt(messages: Messages) -> Answer | NoAnswerError:
            try:
                return self.ask(messages)
            except NoAnswerError as error:
                return error

        return self.at_once(attempt, conversations)

    def at_once(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
        """Apply a function that asks to several items, some at once; the first exception ends it."""
        with ThreadPoolExecutor(self._concurrency) as pool:
            try:
                return list(pool.map(function, items))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _ask_in_format(self, number: int, messages: Messages, schema: dict[str, Any]) -> Answer | None:
        """Return the answer, or None where the server does not know this format; it is not asked for that again."""
        import openai

        try:
            return self._ask(messages, _response_format(_FORMATS[number], schema))
        except NoAnswerError as error:
            cause = error.__cause__
            refused = isinstance(cause, openai.BadRequestError | openai.UnprocessableEntityError)
            about_format = any(word in str(cause) for word in ("response_format", "json_schema", "json_object"))
            if not refused or not about_format or number + 1 == len(_FORMATS):
                raise
            # Another thread may have come further in the meantime.
            self._format = max(self._format, number + 1)
            return None

    def _ask(self, messages: Any, extra: dict[str, Any]) -> Answer:
        import openai

        url = self._server.base_url
        try:
            completion: Any = self._client.chat.completions.create(
                model=self._server.model, messages=messages, **self._options, **extra
            )
        except openai.APITimeoutError as error:
            times = self._server.max_retries + 1
            raise NoAnswerError(f"{url}: no answer within {self._server.timeout:g} s, asked {times} times") from error
        except (openai.APIConnectionError, openai.APIStatusError) as error:
            fatal = not isinstance(error, openai.APIStatusError) or error.status_code in _FATAL
            raise (ChatServerError if fatal else NoAnswerError)(describe_failure(error, self._server)) from error
        except (openai.OpenAIError, ValueError) as error:
            raise NoAnswerError(f"{url}: its answer is not of the chat protocol ({shorten(error)})") from error
        # Servers that are not quite OpenAI's leave out what they like.
        choice = (getattr(completion, "choices", None) or [None])[0]
        message = getattr(choice, "message", None)
        text = getattr(message, "content", None)
        if not isinstance(text, str):
            refusal = getattr(message, "refusal", None)
            reason = f"the model refuses: {refusal}" if refusal else "its answer has no text"
            raise NoAnswerError(f"{url}: {reason}")
        usage = getattr(completion, "usage", None)
        prompt, completed = (int(getattr(usage, f"{part}_tokens", None) or 0) for part in ("prompt", "completion"))
        return Answer(text, prompt, completed, cut=getattr(choice, "finish_reason", None) == "length")


def _response_format(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    if kind == "text":
        return {}
    details = {"json_schema": {"name": "answer", "schema": schema, "strict": True}} if kind == "json_schema" else {}
    return {"response_format": {"type": kind, **details}}
