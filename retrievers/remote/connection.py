"""Connections to a server, which are kept open between calls: one for threads, one for an event loop."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from mnemodex.retrievers.remote.problems import Answer, Attempts, NoConnection, read_answer
from mnemodex.schemas.errors import ForkedProcessError, UserError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import httpx2

    from mnemodex.retrievers.remote.answering import AnswerPart, AnswerStream
    from mnemodex.retrievers.remote.calls import Call, Request

_T = TypeVar("_T")

SECONDS = 60.0
"""How long a request may take where nothing else is said."""
_CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Address:
    """A server and how it is asked.

    Attributes:
        url: without the key, with no slash at its end.
        key: that is sent with each request.
        seconds: that a request may take.
    """

    url: str
    key: str | None = field(repr=False)
    seconds: float

    @classmethod
    def of(cls, url: str, key: str | None, seconds: float) -> Address:
        """Return an address; raise `UserError` for a URL or a key that cannot be used."""
        import httpx2

        try:
            parsed = httpx2.URL(url)
        except (httpx2.InvalidURL, TypeError) as error:
            raise UserError(f"url {url!r}: is no address ({error}). Write it as https://HOST:PORT") from error
        if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.query or parsed.fragment:
            raise UserError(f"url {url!r}: is not the address of a server. Write it as https://HOST:PORT")
        if key is not None and not (key.isascii() and key.isprintable() and key.strip() == key and key):
            raise UserError("key: is empty, or holds characters that no key has. Copy it from `mnemodex keys add`")
        if not 0 < seconds < float("inf"):
            raise UserError(f"timeout is {seconds!r}. Give a positive number of seconds")
        return cls(str(parsed).rstrip("/"), key, seconds)

    def options(self) -> dict[str, Any]:
        """Return the options of a client of the HTTP library."""
        from importlib.metadata import version

        import httpx2

        timeout = httpx2.Timeout(self.seconds, connect=min(self.seconds, _CONNECT_SECONDS))
        return {"timeout": timeout, "headers": {"user-agent": f"mnemodex/{version('mnemodex')}"}}

    def sent(self, request: Request) -> dict[str, Any]:
        """Return a request as the HTTP library takes it."""
        headers = {} if self.key is None else {"authorization": f"Bearer {self.key}"}
        if request.body is None:
            return {"method": "GET", "url": self.url + request.path, "headers": headers}
        content = json.dumps(request.body, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
        headers["content-type"] = "application/json"
        return {"method": "POST", "url": self.url + request.path, "headers": headers, "content": content}

    def failed(self, error: httpx2.TransportError) -> NoConnection:
        """Return why there is no answer."""
        import httpx2

        if isinstance(error, httpx2.ConnectTimeout):
            return NoConnection(f"no connection within {min(self.seconds, _CONNECT_SECONDS):g} s", repeat=False)
        if isinstance(error, httpx2.TimeoutException):
            return NoConnection(f"no answer within {self.seconds:g} s; ask for less, or pass timeout=", repeat=False)
        broken = isinstance(error, httpx2.NetworkError | httpx2.RemoteProtocolError)
        return NoConnection(f"no connection ({error or type(error).__name__})", repeat=broken)


class Connection:
    """Asks a server from any thread.

    Args:
        address: the server.
        client: of httpx2, with settings of its own for proxies or certificates; it stays open when this one is closed.
    """

    def __init__(self, address: Address, client: httpx2.Client | None = None) -> None:
        import httpx2

        self.address = address
        self._given = client
        self._client = client if client is not None else httpx2.Client(**address.options())
        self._process = os.getpid()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the address: the other process connects by itself."""
        if self._given is not None:
            raise UserError("the connection has a client of its own, which cannot be pickled. Connect where it is used")
        return Connection, (self.address,)

    def ask(self, call: Call[_T]) -> _T:
        """Return the result of a call.

        Raises:
            ServerError: there is no answer, or none of a Mnemodex server.
            MnemodexError: the server refuses; of the class that a memory of this machine would raise.
        """
        return call.result([self._answer(request) for request in call.requests], self.address.url)

    def stream(self, asked: AnswerStream) -> Iterator[AnswerPart]:
        """Yield the parts of answers as they come.

        Raises:
            ServerError: there is no answer, or it ends too early.
            MnemodexError: as `ask` does.
        """
        import httpx2

        attempts = Attempts(self.address.seconds)
        while True:
            check_process(self._process)
            outcome: Answer | NoConnection | None = None
            try:
                with self._client.stream(**self.address.sent(asked.request)) as response:
                    if response.status_code == 200:
                        for line in response.iter_lines():
                            yield from asked.read(line)
                    else:
                        outcome = Answer(response.status_code, response.headers, response.read())
            except httpx2.TransportError as error:
                outcome = self.address.failed(error)
            seconds = None if outcome is None or asked.begun else attempts.pause_after(outcome)
            if seconds is None:
                asked.finish(self.address.url, outcome)
                return
            time.sleep(seconds)

    def close(self) -> None:
        """Close the connection."""
        if self._given is None:
            self._client.close()

    def _answer(self, request: Request) -> Any:
        sent = self.address.sent(request)
        attempts = Attempts(self.address.seconds)
        while True:
            outcome = self._send(sent)
            seconds = attempts.pause_after(outcome)
            if seconds is None:
                return read_answer(self.address.url, outcome)
            time.sleep(seconds)

    def _send(self, sent: dict[str, Any]) -> Answer | NoConnection:
        from httpx2 import TransportError

        check_process(self._process)
        try:
            response = self._client.request(**sent)
        except TransportError as error:
            return self.address.failed(error)
        return Answer(response.status_code, response.headers, response.content)


class AsyncConnection:
    """Asks a server from one event loop.

    Args:
        address: the server.
        client: of httpx2, with settings of its own for proxies or certificates; it stays open when this one is closed.
    """

    def __init__(self, address: Address, client: httpx2.AsyncClient | None = None) -> None:
        import httpx2

        self.address = address
        self._given = client
        self._client = client if client is not None else httpx2.AsyncClient(**address.options())
        self._process = os.getpid()

    async def ask(self, call: Call[_T]) -> _T:
        """Return the result of a call, as `Connection.ask`."""
        return call.result([await self._answer(request) for request in call.requests], self.address.url)

    async def stream(self, asked: AnswerStream) -> AsyncIterator[AnswerPart]:
        """Yield the parts of answers as they come, as `Connection.stream`."""
        import httpx2

        attempts = Attempts(self.address.seconds)
        while True:
            check_process(self._process)
            outcome: Answer | NoConnection | None = None
            try:
                async with self._client.stream(**self.address.sent(asked.request)) as response:
                    if response.status_code == 200:
                        async for line in response.aiter_lines():
                            for part in asked.read(line):
                                yield part
                    else:
                        outcome = Answer(response.status_code, response.headers, await response.aread())
            except httpx2.TransportError as error:
                outcome = self.address.failed(error)
            seconds = None if outcome is None or asked.begun else attempts.pause_after(outcome)
            if seconds is None:
                asked.finish(self.address.url, outcome)
                return
            await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Close the connection."""
        if self._given is None:
            await self._client.aclose()

    async def _answer(self, request: Request) -> Any:
        sent = self.address.sent(request)
        attempts = Attempts(self.address.seconds)
        while True:
            outcome = await self._send(sent)
            seconds = attempts.pause_after(outcome)
            if seconds is None:
                return read_answer(self.address.url, outcome)
            await asyncio.sleep(seconds)

    async def _send(self, sent: dict[str, Any]) -> Answer | NoConnection:
        from httpx2 import TransportError

        check_process(self._process)
        try:
            response = await self._client.request(**sent)
        except TransportError as error:
            return self.address.failed(error)
        return Answer(response.status_code, response.headers, response.content)


def check_process(process: int) -> None:
    """Refuse a connection of another process: two that read from one would take each other's answers."""
    if os.getpid() != process:
        raise ForkedProcessError(
            f"process {os.getpid()} is a fork of {process}, which opened this connection; connect again in this process"
        )
