"""Conversations with a language model behind a server that speaks OpenAI's protocol."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from mnemodex.indexers.models.dialect import Dialect, Message
from mnemodex.indexers.models.parsing import strip_thinking
from mnemodex.indexers.models.server import Client, RequestFailedError, Server, shorten
from mnemodex.schemas.errors import ChatServerError, NoAnswerError, TooLongError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

Messages = list[Message]
"""A conversation."""

Schema = dict[str, object]
"""A JSON schema."""

_MOST = 16 << 20
"""Bytes of an answer; a million tokens are a quarter of it."""
_STREAM: dict[str, object] = {"stream": True, "stream_options": {"include_usage": True}}
"""Options of a request whose answer comes in parts, and says at its end how many tokens it has."""
_FAILURES = 10
"""Questions in a row that a server fails at before no other one is asked."""
_TOO_LONG = re.compile(
    r"context.?(?:length|window|size)|(?:prompt|input|message|request)s?\b.{0,40}too (?:long|large)|too many tokens",
    re.IGNORECASE,
)
"""In refusals of OpenAI's server, vLLM, llama.cpp and others."""


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

    What the server refuses (a parameter, a format, a system message) is left out, and not asked for again.

    Args:
        base_url: the server, with its `/v1`.
        model: the model's name there.
        api_key_env: the environment variable that holds the key; servers of one's own often want none.
        timeout: seconds that a whole answer may take.
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
        options: Mapping[str, object] | None = None,
    ) -> None:
        self._server = Server(base_url, model, api_key_env, timeout, max_retries)
        self._concurrency = concurrency
        self._options: dict[str, object] = {"temperature": 0.0, **(options or {})}
        self._dialect = Dialect()
        self._guesses = True
        self._failures = 0
        self._client = Client(self._server, most=_MOST)

    @property
    def base_url(self) -> str:
        """The server."""
        return self._server.base_url

    @property
    def left_out(self) -> list[str]:
        """What the server was asked for and refused, so that it is asked no more."""
        return self._dialect.describe()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(
        self, messages: Messages, *, schema: Schema | None = None, watch: Callable[[str], None] | None = None
    ) -> Answer:
        """Ask one question, by a conversation.

        With a JSON schema of the answer, the conversation should also say that the answer is JSON, and of which form,
        for servers that do not know schemas.

        Args:
            messages: the conversation.
            schema: of the answer.
            watch: is given what the model writes, its thoughts too, as the server sends it, in another thread. A
                server that does not stream sends nothing before its answer; a repeated attempt starts with the first
                character again.

        Raises:
            ChatServerError: no question can be answered: the server is not there, refuses the key or the model, or
                failed at ten questions in a row.
            NoAnswerError: this question is not answered; a `TooLongError` where the server says that it is too long.
        """
        while True:
            dialect = self._dialect
            try:
                answer = self._ask(dialect, messages, schema, watch)
            except RequestFailedError as failure:
                if watch is not None and failure.status in range(400, 500) and "stream" in failure.words.casefold():
                    watch = None
                    continue
                simpler = dialect.simpler(dialect.request(messages, self._options, schema), failure)
                if simpler is not None:
                    # Another thread may have come further in the meantime.
                    self._dialect = simpler if self._dialect is dialect else self._dialect
                    continue
                found = self._guess(dialect, messages, schema, failure)
                if found is None:
                    self._failures = self._failures + 1 if failure.is_fault else 0
                    in_row = f", like {self._failures - 1} questions before it; look after the server, then go on"
                    times = f", asked {self._server.max_retries + 1} times" if failure.late else ""
                    is_long = not failure.concerns_all and _TOO_LONG.search(failure.words) is not None
                    if self._failures >= _FAILURES and not is_long:
                        raise ChatServerError(f"{failure}{times}{in_row}") from failure
                    kind = ChatServerError if failure.concerns_all else TooLongError if is_long else NoAnswerError
                    raise kind(f"{failure}{times}") from failure
                self._failures = 0
                return found
            self._failures = 0
            self._guesses = self._guesses and schema is None
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
        with self._client.pool(self._concurrency) as pool:
            return list(pool.map(function, items))

    def _guess(
        self, dialect: Dialect, messages: Messages, schema: Schema | None, failure: RequestFailedError
    ) -> Answer | None:
        """Return the answer in another format, where a server may have refused the first one in words of its own."""
        if schema is None or not self._guesses or not dialect.may_concern_format(failure):
            return None
        self._guesses = False
        for other in dialect.other_formats():
            try:
                answer = self._ask(other, messages, schema)
            except RequestFailedError:
                continue
            self._dialect = other
            return answer
        return None

    def _ask(
        self,
        dialect: Dialect,
        messages: Messages,
        schema: Schema | None,
        watch: Callable[[str], None] | None = None,
    ) -> Answer:
        options = self._options if watch is None else self._options | _STREAM
        body = dialect.request(messages, options, schema).body()
        seen = None if watch is None else lambda event: watch(_written(event))
        try:
            answer = self._client.post("chat", {"model": self._server.model, **body}, watch=seen)
        except ValueError as error:
            answer, text = None, str(error)
        else:
            text = shorten(answer)
        choice = _merge(answer) if isinstance(answer, list) else _first(_get(answer, "choices"))
        message = _get(choice, "message")
        content = _text(_get(message, "content"))
        parts = answer if isinstance(answer, list) else [answer]
        usage = next((found for part in reversed(parts) if (found := _get(part, "usage"))), None)
        if content is None and (_get(message, "reasoning_content") or _get(message, "reasoning")):
            content = ""
        if content is None:
            refusal = _get(message, "refusal")
            malformed = f"its answer is not of the chat protocol, or has no text ({text}); check base_url and model"
            reason = f"the model refuses: {shorten(refusal)}" if refusal else malformed
            raise NoAnswerError(f"{self._server.base_url}: {reason}")
        prompt, completion = (_count(_get(usage, f"{part}_tokens")) for part in ("prompt", "completion"))
        return Answer(content, prompt, completion, cut=_get(choice, "finish_reason") == "length")


def _get(value: Any, key: str) -> Any:
    # Servers that are not quite OpenAI's leave out what they like.
    return value.get(key) if isinstance(value, dict) else None


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else None


def _count(value: Any) -> int:
    """Return a number of tokens; 0 for what is none."""
    return value if type(value) is int and value >= 0 else 0


def _text(content: Any) -> str | None:
    """Return the text of a message, which may come in parts."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else None
    parts = [part if isinstance(part, str) else _get(part, "text") for part in content]
    texts = [part for part in parts if isinstance(part, str)]
    return "".join(texts) if texts else None


def _written(event: dict[str, Any]) -> str:
    """Return what an event of a stream adds to the answer."""
    delta = _get(_first(event.get("choices")), "delta")
    return _text(_get(delta, "content")) or ""


def _merge(events: list[Any]) -> dict[str, Any]:
    """Return the choice that a stream of events builds up, from a server that streams without being asked to."""
    choices = [choice for event in events if (choice := _first(_get(event, "choices"))) is not None]
    deltas = [_get(choice, "delta") or _get(choice, "message") for choice in choices]
    texts = [text for delta in deltas if (text := _text(_get(delta, "content"))) is not None]
    thoughts = any(_get(delta, "reasoning_content") for delta in deltas)
    reasons = [reason for choice in choices if (reason := _get(choice, "finish_reason"))]
    message = {"content": "".join(texts) if texts else None, "reasoning_content": thoughts}
    return {"message": message, "finish_reason": _first(reasons[-1:])}
