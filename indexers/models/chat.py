"""Language models behind a server that speaks OpenAI's chat protocol."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from mnemodex.indexers.models.openai_client import Server, describe_failure, open_client, shorten
from mnemodex.schemas.errors import ChatServerError, NoAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

Messages = list[dict[str, str]]
"""A conversation: `{"role": "system" | "user" | "assistant", "content": TEXT}` each."""

_FORMATS = ("json_schema", "json_object", "text")
"""Formats of an answer that has a schema; a server that does not know one is asked for the next."""

_FATAL = (401, 403, 404, 429)
"""Statuses with which a server answers every question alike."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A text that a model wrote.

    Attributes:
        prompt_tokens: tokens of the conversation, as the server counted them; 0 where it does not say.
        completion_tokens: tokens of the answer.
        cut: whether the answer ends at the limit of tokens, and not where the model ended it.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    cut: bool = False


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

    Raises:
        MissingExtraError: the extra `llm` is not installed.
        ModelError: the environment variable holds what no key can be.
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

    def ask_many(
        self, conversations: Sequence[Messages], *, schema: dict[str, Any] | None = None
    ) -> list[Answer | NoAnswerError]:
        """Ask several questions, some at once; return answers, or why there are none, in the same order."""

        def attempt(messages: Messages) -> Answer | NoAnswerError:
            try:
                return self.ask(messages, schema=schema)
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
