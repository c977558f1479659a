"""What lets a request in: its host, its key, and how often that key asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from mnemodex.deploy.access import OPEN
from mnemodex.deploy.answers import refuse
from mnemodex.deploy.errors import Problem, problem_of
from mnemodex.deploy.keys import Keys
from mnemodex.deploy.limits import Rates
from mnemodex.deploy.page.routes import PATHS
from mnemodex.schemas.errors import KeyRefusedError, RateError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from mnemodex.deploy.access import Access
    from mnemodex.deploy.settings import ServerSettings

OPEN_PATHS = PATHS | {"/healthz", "/readyz", "/docs", "/docs/oauth2-redirect", "/openapi.json"}
"""What is answered without a key: none of it says anything of a memory. A new address needs one until it is here."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Guard:
    """An ASGI middleware: what comes through has `state["access"]`, which says what it may do.

    A server without keys listens at this machine alone, but a page of the web can make a browser here ask it, under a
    name of its own that it lets point here. So such a server is asked under the names of this machine alone.
    """

    def __init__(self, app: ASGIApp, *, settings: ServerSettings) -> None:
        self._app = app
        self._keys = None if settings.keys is None else Keys(settings.keys)
        self._rates = Rates(settings.replicas)
        self._hosts = None if self._keys is not None else _LOOPBACK | {settings.host.casefold()}
        self._folders = settings.memories

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it."""
        if scope["type"] == "http":
            problem = self._admit(scope)
            if problem is not None:
                await refuse(problem)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _admit(self, scope: Scope) -> Problem | None:
        """Note what a request may do; return why it is refused, if it is."""
        headers = Headers(scope=scope)
        if self._hosts is not None and _name(headers.get("host", "")) not in self._hosts:
            message = "a server without keys is asked under the names of this machine alone"
            return Problem(403, "host", message, "Ask it as 127.0.0.1 or localhost, or start it with --keys")
        if scope["path"] in OPEN_PATHS:
            return None
        try:
            access = self._access(headers.get("authorization"))
            scope.setdefault("state", {})["access"] = access
            self._rates.take(access)
        except (KeyRefusedError, RateError) as error:
            return problem_of(error, self._folders)
        return None

    def _access(self, authorization: str | None) -> Access:
        return OPEN if self._keys is None else self._keys.access(authorization)


def _name(host: str) -> str:
    """Return the name of a header `Host`, without the port."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return name.casefold().rstrip(".")
