"""The tools of assistants over HTTP: `/mcp`, by MCP's streamable transport."""

from __future__ import annotations

import contextlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from mnemodex.deploy.answers import refuse
from mnemodex.deploy.errors import Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp.server.mcpserver import Context
    from starlette.types import Receive, Scope, Send

    from mnemodex.deploy.access import Access
    from mnemodex.deploy.service import Service

_PATH = "/mcp"
_LOCAL = ("127.0.0.1", "localhost", "[::1]")


class Tools:
    """An ASGI application that answers calls between the start and the end of `lifespan`.

    What a call may do is what was noted of its request before it came here. No call belongs to a session, so that any
    replica answers it. Where the extra `mcp` is not installed, calls are answered by its name.
    """

    def __init__(self, service: Service) -> None:
        self._sessions = None if find_spec("mcp") is None else _sessions(service)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        """Let calls be answered."""
        async with contextlib.AsyncExitStack() as stack:
            if self._sessions is not None:
                await stack.enter_async_context(self._sessions.run())
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call."""
        if self._sessions is None:
            problem = Problem(404, "missing_extra", "the server has no tools", "Install mnemodex[mcp] there")
            await refuse(problem)(scope, receive, send)
        else:
            await self._sessions.asgi_app(scope, receive, send)


def _sessions(service: Service) -> Any:
    from mcp.server.transport_security import TransportSecuritySettings

    from mnemodex.deploy.mcp_server import mcp_server

    hosts = {*_LOCAL, service.settings.host}
    # A server without keys is asked from this machine alone: a page of another site, whose name leads here, is refused.
    # Where keys are asked for, such a page has none, and the server may have any name.
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=service.settings.keys is None,
        allowed_hosts=[name for host in hosts for name in (host, f"{host}:*")],
        allowed_origins=[
            f"{scheme}://{host}{port}" for host in hosts for scheme in ("http", "https") for port in ("", ":*")
        ],
    )
    server = mcp_server(service, _access_of)
    server.streamable_http_app(
        streamable_http_path=_PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=service.settings.limits.body_bytes,
        transport_security=security,
    )
    return server.session_manager


def _access_of(context: Context) -> Access:
    request: Any = context.request_context.request
    access: Access = request.state.access
    return access
