"""What runs in the proxy of Ray Serve: requests that no replica takes or has answered are answered as JSON."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.middleware import Middleware

from mnemodex.deploy.answers import refuse
from mnemodex.deploy.errors import Problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOST = Problem(503, "replica_lost", "the replica that was answering is gone", "Ask again; another one answers", 1.0)
_NONE = Problem(503, "unavailable", "no replica of the server can be asked", "Ask again in some seconds", 2.0)
_LATE = Problem(504, "timeout", "the request took longer than the server's proxy lets it", "Ask for less, or later")
_BUSY = Problem(429, "busy", "as many requests wait as the server takes", "Ask again in a second", 1.0)
_COUNTED = "/v1/"
_OWN = "/-/"
"""Where the proxy answers itself: its routes and its health."""


MOST = "MNEMODEX_PROXY_REQUESTS"
"""The environment variable that says how many requests the proxy takes at a time; without it, replicas alone refuse."""


def middlewares() -> list[Middleware]:
    """Return what Ray Serve puts around its proxy, which calls this function by its name in an environment variable."""
    most = os.environ.get(MOST)
    return [Middleware(Answered, most=None if most is None else int(most))]


class Answered:
    """An ASGI middleware: what the proxy leaves unanswered, or refuses in plain text, is JSON and may be asked again.

    When a replica dies, the proxy ends the requests that it was answering without an answer. Replicas say all that is
    wrong as JSON, so that a refusal in plain text is the proxy's own.

    What is asked beyond `most` requests is refused here: where a replica does that, it has waited behind the others in
    the proxy and in the replica's event loop, and cost nearly as much as an answer.
    """

    def __init__(self, app: ASGIApp, *, most: int | None = None) -> None:
        self._app = app
        self._most = most
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"].startswith(_OWN):
            await self._app(scope, receive, send)
            return
        if not scope["path"].startswith(_COUNTED):
            await self._pass(scope, receive, send)
            return
        if self._most is not None and self._running >= self._most:
            await _refuse(_BUSY, scope, receive, send)
            return
        self._running += 1
        try:
            await self._pass(scope, receive, send)
        finally:
            self._running -= 1

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem: Problem | None = LOST

        async def send_json(message: Message) -> None:
            nonlocal problem
            if message["type"] == "http.response.start":
                problem = _own_refusal(message)
            if problem is None:
                await send(message)

        await self._app(scope, receive, send_json)
        if problem is not None:
            await _refuse(problem, scope, receive, send)


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    answer = refuse(problem)
    # The proxy has given the request one where it had none.
    answer.headers["x-request-id"] = Headers(scope=scope).get("x-request-id", "")
    await answer(scope, receive, send)


def _own_refusal(start: Message) -> Problem | None:
    """Return what the proxy means by the start of an answer; None where it is a replica's."""
    if start["status"] < 400 or not Headers(raw=start["headers"]).get("content-type", "").startswith("text/plain"):
        return None
    return _LATE if start["status"] == 408 else _NONE
