"""The HTTP application: what is asked as JSON is answered by the operations. Needs no Ray."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Route

from mnemodex import __version__
from mnemodex.deploy.answers import JSON, answer, refuse
from mnemodex.deploy.audit import Audit
from mnemodex.deploy.envelope import Envelope
from mnemodex.deploy.errors import Problem, problem_of
from mnemodex.deploy.guard import Guard
from mnemodex.deploy.mcp_http import Tools
from mnemodex.deploy.operations.base import Form
from mnemodex.deploy.operations.indexes import indexes
from mnemodex.schemas.errors import MnemodexError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mnemodex.deploy.operations.base import Operation
    from mnemodex.deploy.service import Service
    from mnemodex.deploy.settings import ServerSettings

    Endpoint = Callable[[Request], Awaitable[Response]]

_STATUSES = {
    404: Problem(404, "not_found", "there is no such address", "See /docs for those there are"),
    405: Problem(405, "method", "the address is not asked by this method", "See /docs for the method"),
}


def http_app(settings: ServerSettings, state: Service) -> FastAPI:
    """Return the application of a service."""
    tools = Tools(state)
    app = FastAPI(title="Mnemodex", version=__version__, redoc_url=None, lifespan=tools.lifespan)
    app.router.routes.append(Route("/mcp", endpoint=tools))
    routes = Routes(settings, state)
    for operation in state.operations.values():
        schema = operation.form.model_json_schema()
        body = {"required": True, "content": {JSON: {"schema": schema}}}
        app.add_api_route(
            f"/v1/{operation.name}",
            routes.guarded(routes.operation(operation)),
            methods=["POST"],
            name=operation.name,
            summary=operation.summary,
            description=operation.run.__doc__,
            openapi_extra={"requestBody": body},
        )
    for path, endpoint in {"/v1/indexes": routes.indexes, "/healthz": routes.healthz, "/readyz": routes.readyz}.items():
        app.add_api_route(path, routes.guarded(endpoint), methods=["GET"], summary=endpoint.__doc__)
    app.add_exception_handler(HTTPException, routes.strayed)
    # The last one is the outermost.
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(Envelope, audit=None if settings.audit is None else Audit(settings.audit))
    return app


class Routes:
    """The endpoints of a service."""

    def __init__(self, settings: ServerSettings, state: Service) -> None:
        self._settings = settings
        self._state = state

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """Return an endpoint whose errors are answered as JSON."""

        async def guard(request: Request) -> Response:
            try:
                return await endpoint(request)
            except Exception as error:
                request.state.error = None if isinstance(error, MnemodexError) else error
                return refuse(problem_of(error, self._settings.memories))

        # FastAPI reads the annotations, and does not see the names of this function.
        guard.__annotations__ = {"request": Request}
        guard.__name__ = endpoint.__name__
        return guard

    def operation(self, operation: Operation) -> Endpoint:
        """Return the endpoint of an operation."""

        async def endpoint(request: Request) -> Response:
            access = request.state.access
            body = await self._body(request)
            if isinstance(body, Problem):
                return refuse(body)
            form = request.state.form = operation.form.model_validate_json(body)
            return answer(await self._state.run(operation.name, form, access))

        return endpoint

    async def _body(self, request: Request) -> bytes | Problem:
        """Return the body of a request; a problem where it is too large, or not said to be JSON."""
        # Pages of other sites cannot send this type without asking first.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
            return Problem(415, "media_type", "the body is not said to be JSON", f"Send Content-Type: {JSON}")
        limits, body = self._settings.limits, bytearray()
        try:
            async with asyncio.timeout(limits.seconds):
                async for part in request.stream():
                    body += part
                    if len(body) > limits.body_bytes:
                        message = f"the body has more than {limits.body_bytes} bytes"
                        return Problem(413, "too_large", message, "Ask in several requests")
        except TimeoutError:
            return Problem(408, "slow", f"the body takes longer than {limits.seconds:g} seconds", "Send it at once")
        return bytes(body)

    async def indexes(self, request: Request) -> Response:
        """Return what the memories hold."""
        access = request.state.access
        allowed = [served for served in self._state.memories if access.sees_memory(served.name)]
        memories = [indexes(served, Form(), access) for served in allowed]
        return answer({"limits": self._settings.limits.model_dump(mode="json"), "memories": memories})

    async def healthz(self, request: Request) -> Response:
        """Say that the process lives."""
        return answer({"status": "alive"})

    async def readyz(self, request: Request) -> Response:
        """Say whether all memories are open and warm."""
        return answer({"status": "ready" if self._state.ready else "opening"}, 200 if self._state.ready else 503)

    async def strayed(self, request: Request, error: Exception) -> Response:
        """Answer what is addressed to nothing."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        problem = _STATUSES.get(status)
        return refuse(problem or Problem(status, "refused", "the request is refused", "See /docs"))
