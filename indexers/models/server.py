"""Servers that speak OpenAI's protocol: one request, within a time and a size; and why there is no answer."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic_core import from_json

from mnemodex.indexers.models.bounded_client import bounded_client
from mnemodex.indexers.models.events import WATCHED, Events, read_events
from mnemodex.indexers.models.locate import need
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from mnemodex.schemas.sections import ServedEmbedding

_TAGS = re.compile(r"<[^<>]{0,999}>")
_REDIRECTS = range(300, 400)


class Server(NamedTuple):
    """A model of a server, asked with a timeout in seconds; the settings of a served encoder have the same fields."""

    base_url: str
    model: str
    api_key_env: str
    timeout: float
    max_retries: int


class RequestFailedError(Exception):
    """A request has no answer; says why, and what to do where that is known.

    Attributes:
        status: of the answer; None where there was none.
        words: the server's own, in short.
        late: whether it took too long.
    """

    def __init__(self, message: str, *, status: int | None = None, words: str = "", late: bool = False) -> None:
        super().__init__(message)
        self.status, self.words, self.late = status, words, late

    @property
    def concerns_all(self) -> bool:
        """Whether the server answers every request alike."""
        refused = (401, 403, 404, 429, *_REDIRECTS)
        return not self.late and (self.status is None or self.status in refused)

    @property
    def is_fault(self) -> bool:
        """Whether it may be the server's, and not that of the question."""
        return self.late or (self.status is not None and self.status >= 500)


class _Asked:
    """The requests of some threads, which can be given up together."""

    def __init__(self) -> None:
        self._given_up = False
        self._waiting: set[Future[Any]] = set()

    def wait(self, request: Future[Any]) -> Any:
        """Return what a request gives; where it was given up, a `CancelledError`."""
        self._waiting.add(request)
        try:
            if self._given_up:
                request.cancel()
            return request.result()
        finally:
            self._waiting.discard(request)

    def give_up(self) -> None:
        """Wait for no request any more, nor for one to come."""
        self._given_up = True
        for request in list(self._waiting):
            request.cancel()


class Client:
    """OpenAI's client of one server, for several threads.

    Rate limits (429), failures of the server (5xx) and lost connections are tried again, after as long as the server's
    `Retry-After` says, else after a time that doubles, with jitter. The timeout is for a whole answer, from connecting
    to its last byte. Redirects are not followed: texts and the key are for the server that is named.

    Args:
        server: the server.
        most: bytes of an answer.

    Raises:
        MissingExtraError: the extra `llm` is not installed.
        ModelError: the environment variable holds what no key can be.
    """

    def __init__(self, server: Server | ServedEmbedding, *, most: int) -> None:
        need("openai", extra="llm")
        self._server, self._most = server, most
        # A key that was read from a file often ends with a line break.
        self._key = os.environ.get(server.api_key_env, "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            # The client would say so too, with the key in its message.
            raise ModelError(
                f"the environment variable {server.api_key_env} holds what no key can be, a line break or letters "
                "beyond ASCII; set it to the key alone"
            )
        self._thread = threading.local()
        self._opened: tuple[int, asyncio.AbstractEventLoop, Any] | None = None

    def post(
        self,
        path: Literal["chat", "embeddings"],
        body: dict[str, Any],
        *,
        watch: Callable[[dict[str, Any]], None] | None = None,
    ) -> Any:
        """Return the JSON that a request is answered; of a stream of events, the list of their JSON.

        Args:
            path: what is asked.
            body: the request's JSON.
            watch: is given the JSON of each event as it comes, in the thread of all requests; those of an attempt that
                fails too.

        Raises:
            RequestFailedError: there is no answer, or it is an error.
            ValueError: the answer is not JSON; it is the message.
        """
        import openai

        loop, client = self._open()
        resource = client.chat.completions if path == "chat" else client.embeddings
        # What the client does not know of is sent too.
        known = {name: body[name] for name in ("model", "messages", "input", "encoding_format") if name in body}
        extra = {name: value for name, value in body.items() if name not in known}
        watched = WATCHED.set(None if watch is None else Events(watch))
        try:
            request = resource.with_raw_response.create(**known, extra_body=extra)
            content = self._wait(asyncio.run_coroutine_threadsafe(request, loop)).content
        except openai.APIStatusError as error:
            raise self._refusal(error.status_code, error.body, error.response.headers.get("location")) from error
        except openai.APIConnectionError as error:
            raise self._lost(error) from error
        finally:
            WATCHED.reset(watched)
        if len(content) > self._most:
            raise RequestFailedError(
                f"{self._server.base_url}: its answer is larger than {self._most >> 20} MiB", status=200
            )
        value = _read(content.decode("utf-8", "replace"))
        said = value.get("error") if isinstance(value, dict) else None
        if said and not value.get("choices") and not value.get("data"):
            code = said.get("code") if isinstance(said, dict) else None
            raise self._refusal(code if isinstance(code, int) and code in range(400, 600) else 400, value)
        return value

    @contextlib.contextmanager
    def pool(self, threads: int) -> Iterator[ThreadPoolExecutor]:
        """Give threads that ask. An exception gives up what they asked: who is stopped waits for no answer."""
        asked = _Asked()
        with ThreadPoolExecutor(threads, initializer=setattr, initargs=(self._thread, "asked", asked)) as pool:
            try:
                yield pool
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                asked.give_up()
                raise

    def _wait(self, request: Future[Any]) -> Any:
        asked: _Asked | None = getattr(self._thread, "asked", None)
        return request.result() if asked is None else asked.wait(request)

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None and self._opened[0] == os.getpid():
            _, loop, client = self._opened
            asyncio.run_coroutine_threadsafe(client.close(), loop).result()

    def _open(self) -> tuple[asyncio.AbstractEventLoop, Any]:
        """Return the client and the thread that it runs in; a forked process has its own."""
        if self._opened is None or self._opened[0] != os.getpid():
            import openai

            client = openai.AsyncOpenAI(
                base_url=self._server.base_url,
                # The client refuses to start without a key, although the server may not ask for one.
                api_key=self._key or "none",
                max_retries=self._server.max_retries,
                timeout=None,
                http_client=bounded_client(self._server.timeout, self._most),
            )
            self._opened = os.getpid(), _loop(os.getpid()), client
        return self._opened[1:]

    def _lost(self, error: Exception) -> RequestFailedError:
        server, cause = self._server, error.__cause__
        if isinstance(cause and cause.__cause__, TimeoutError):
            return RequestFailedError(f"{server.base_url}: no answer within {server.timeout:g} s", late=True)
        reason = f"cannot be reached ({cause or error})"
        return RequestFailedError(f"{server.base_url}: {reason}; start the server, or check base_url")

    def _refusal(self, status: int, body: Any, location: str | None = None) -> RequestFailedError:
        server = self._server
        words = shorten(_words(body))
        if self._key:
            words = words.replace(self._key, "KEY")
        failure = f"{server.base_url} answers {status} ({words})"
        if status in _REDIRECTS:
            failure = f"{server.base_url} answers {status}, a redirect to {location}; if that is right, set base_url so"
        elif status in (401, 403):
            failure += f"; put its key into the environment variable {server.api_key_env}"
        elif status == 404:
            failure += f"; check base_url, which often ends in /v1, and model {server.model!r}"
        elif status == 429 or status >= 500:
            failure += f", asked {server.max_retries + 1} times"
        if status == 429:
            failure += "; lower concurrency or raise max_retries, or check the account"
        return RequestFailedError(failure, status=status, words=words)


def shorten(text: object) -> str:
    """Return the first words of a text or an error, on one line."""
    return " ".join(str(text).split())[:300]


@functools.cache
def _loop(process: int) -> asyncio.AbstractEventLoop:
    """Start the thread in which the requests of a process run, and can be given up at any time.

    Sockets that are read by the thread that waits have a time for every read only: a byte a second has no end.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name=f"requests of {process}", daemon=True).start()
    return loop


def _read(text: str) -> Any:
    try:
        events = read_events(text)
        if events is not None:
            return events
        try:
            return from_json(text)
        except ValueError:
            # The faster one refuses half characters.
            return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(shorten(_plain(text)) or "it is empty") from error


def _words(body: Any) -> str:
    """Return what a server says in an error, in any of the forms of servers."""
    if isinstance(body, list) and body:
        return _words(body[0])
    if isinstance(body, dict):
        # The first is FastAPI's.
        inner = next((body[name] for name in ("detail", "error", "message", "msg") if body.get(name)), None)
        return str(body) if inner is None else _words(inner)
    return _plain(str(body))


def _plain(text: str) -> str:
    return _TAGS.sub(" ", text[:20_000])
