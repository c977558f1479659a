"""Asking language models behind a server that speaks OpenAI's chat protocol."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from mnemodex.indexers.models.openai_client import open_client
from mnemodex.schemas.errors import ChatServerError, NoAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import openai

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

Messages = list[dict[str, str]]
"""A conversation: `{"role": "system" | "user" | "assistant", "content": TEXT}` each."""

_FORMATS = ("json_schema", "json_object", "text")
"""What a server is asked for where an answer has a schema; the next one where it does not know the former."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model wrote.

    Attributes:
        text: its words.
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
        options: further keys of every request, such as `temperature` and `max_tokens`; the likeliest words (temperature
            0) by default.

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
        self._base_url, self._model, self._api_key_env = base_url, model, api_key_env
        self._timeout, self._retries, self._concurrency = timeout, max_retries, concurrency
        self._options: dict[str, Any] = {"temperature": 0.0, **(options or {})}
        self._format = 0
        self._client = open_client(base_url, api_key_env=api_key_env, timeout=timeout, max_retries=max_retries)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, messages: Messages, *, schema: dict[str, Any] | None = None) -> Answer:
        """Ask once.

        Args:
            messages: the conversation. With a schema it should also say that the answer is JSON, and of which form:
                some servers do not know schemas, and then nothing else tells the model.
            schema: a JSON schema of the answer.

        Raises:
            ChatServerError: no question can be answered: the server is not there, or refuses the key or the model.
            NoAnswerError: this question is not answered.
        """
        if schema is None:
            return self._ask(messages, {})
        while (answer := self._ask_for(self._format, messages, schema)) is None:
            pass
        return answer

    def ask_many(
        self, conversations: Sequence[Messages], *, schema: dict[str, Any] | None = None
    ) -> list[Answer | NoAnswerError]:
        """Ask several questions, some at once; answers, or the reasons why there are none, in the same order.

        Raises:
            ChatServerError: see `ask`.
        """

        def one(messages: Messages) -> Answer | NoAnswerError:
            try:
                return self.ask(messages, schema=schema)
            except NoAnswerError as error:
                return error

        return self.at_once(one, conversations)

    def at_once(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
        """Apply a function that asks to several items, some at once; the first exception ends it."""
        with ThreadPoolExecutor(self._concurrency) as pool:
            try:
                return list(pool.map(function, items))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _ask_for(self, form: int, messages: Messages, schema: dict[str, Any]) -> Answer | None:
        """The answer, or None where the server does not know this form; then it is not asked for it again."""
        import openai

        try:
            return self._ask(messages, _response_format(_FORMATS[form], schema))
        except NoAnswerError as error:
            cause = error.__cause__
            refused = isinstance(cause, openai.BadRequestError | openai.UnprocessableEntityError)
            if not refused or form + 1 == len(_FORMATS) or not _is_about_form(str(cause)):
                raise
            # Another thread may have learnt more in the meantime.
            self._format = max(self._format, form + 1)
            return None

    def _ask(self, messages: Messages, extra: dict[str, Any]) -> Answer:
        import openai

        try:
            answer: Any = self._client.chat.completions.create(
                model=self._model, messages=_typed(messages), **self._options, **extra
            )
        except openai.APITimeoutError as error:
            msg = f"{self._base_url}: no answer within {self._timeout:g} s, asked {self._retries + 1} times"
            raise NoAnswerError(msg) from error
        except openai.APIConnectionError as error:
            msg = f"{self._base_url}: cannot be reached ({error.__cause__ or error}); start the server, or mend the URL"
            raise ChatServerError(msg) from error
        except openai.APIStatusError as error:
            raise self._refused(error) from error
        except (openai.OpenAIError, ValueError) as error:
            msg = f"{self._base_url}: its answer is not of the chat protocol ({_short(error)})"
            raise NoAnswerError(msg) from error
        return self._answer(answer)

    def _refused(self, error: openai.APIStatusError) -> ChatServerError | NoAnswerError:
        said = f"{self._base_url} answers {error.status_code} ({_short(error)})"
        if error.status_code in (401, 403):
            return ChatServerError(f"{said}; put its key into the environment variable {self._api_key_env}")
        if error.status_code == 404:
            return ChatServerError(f"{said}; check the URL, which often ends in /v1, and the model {self._model!r}")
        if error.status_code == 429:
            times = f"asked {self._retries + 1} times"
            return ChatServerError(f"{said}, {times}; lower `concurrency`, raise `max_retries`, or look at the account")
        return NoAnswerError(said)

    def _answer(self, answer: Any) -> Answer:
        """Check what came: servers that are not quite OpenAI's leave out what they like."""
        choices = getattr(answer, "choices", None) or [None]
        message = getattr(choices[0], "message", None)
        text = getattr(message, "content", None)
        if not isinstance(text, str):
            refusal = getattr(message, "refusal", None)
            why = f"the model refuses: {refusal}" if refusal else "its answer has no text"
            msg = f"{self._base_url}: {why}"
            raise NoAnswerError(msg)
        usage = getattr(answer, "usage", None)
        spent = [getattr(usage, name, None) or 0 for name in ("prompt_tokens", "completion_tokens")]
        return Answer(text, int(spent[0]), int(spent[1]), cut=getattr(choices[0], "finish_reason", None) == "length")


def _typed(messages: Messages) -> Any:
    # The client's types of messages are dictionaries with literal roles; ours are plain.
    return messages


def _response_format(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"response_format": {"type": "json_object"}}
    given = {"name": "answer", "schema": schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": given}}


def _is_about_form(message: str) -> bool:
    return any(word in message for word in ("response_format", "json_schema", "json_object"))


def _short(error: Exception) -> str:
    """The server's own words, on one line."""
    return " ".join(str(error).split())[:300]
