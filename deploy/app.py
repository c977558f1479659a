"""The HTTP application: what is asked as JSON is answered by the operations. Needs no Ray."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse
from starlette.routing import Route

from mnemodex import __version__
from mnemodex.deploy.answers import JSON, answer, refuse
from mnemodex.deploy.audit import Audit
from mnemodex.deploy.docs import STYLE, docs_page
from mnemodex.deploy.envelope import Envelope
from mnemodex.deploy.errors import Problem, problem_of
from mnemodex.deploy.guard import Guard
from mnemodex.deploy.mcp_http import Tools
from mnemodex.deploy.metrics import CONTENT_TYPE, exposition
from mnemodex.deploy.operations.answer import AnswerForm
from mnemodex.deploy.operations.base import Form
from mnemodex.deploy.operations.indexes import indexes
from mnemodex.deploy.page.routes import add_page
from mnemodex.deploy.streams import stream_answers
from mnemodex.schemas.errors import MnemodexError, SnapshotRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mnemodex.deploy.access import Access
    from mnemodex.deploy.operations.base import Operation
    from mnemodex.deploy.service import Service
    from mnemodex.deploy.settings import ServerSettings

    Endpoint = Callable[[Request], Awaitable[Response]]

_DOCS_POLICY = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_STATUSES = {
    404: Problem(404, "not_found", "there is no such address", "See /docs for those there are"),
    405: Problem(405, "method", "the address is not asked by this method", "See /docs for the method"),
}


def http_app(settings: ServerSettings, state: Service) -> FastAPI:
    """Return the application of a service."""
    tools = Tools(state)
    app = FastAPI(title="Mnemodex", version=__version__, docs_url=None, redoc_url=None, lifespan=tools.lifespan)
    app.router.routes.append(Route("/mcp", endpoint=tools))
    routes = Routes(settings, state)
    for operation in state.operations.values():
        app.add_api_route(
            f"/v1/{operation.name}",
            routes.guarded(routes.operation(operation)),
            methods=["POST"],
            name=operation.name,
            summary=operation.summary,
            description=operation.run.__doc__,
            openapi_extra=_body_of(operation.form),
        )
    reload = routes.guarded(routes.reload)
    app.add_api_route(
        "/v1/reload", reload, methods=["POST"], summary=routes.reload.__doc__, openapi_extra=_body_of(Form)
    )
    for path, endpoint in routes.reads().items():
        app.add_api_route(path, routes.guarded(endpoint), methods=["GET"], summary=endpoint.__doc__)

    async def docs(request: Request) -> Response:
        """Return this page."""
        return HTMLResponse(page, headers={"Content-Security-Policy": _DOCS_POLICY})

    docs.__annotations__ = {"request": Request}
    page = docs_page(app.openapi())
    app.add_api_route("/docs", docs, methods=["GET"], include_in_schema=False)
    add_page(app)
    app.add_exception_handler(HTTPException, routes.strayed)
    # The last one is the outermost.
    app.add_middleware(Guard, settings=settings)
    audit = state.metrics.audit = None if settings.audit is None else Audit(settings.audit)
    app.add_middleware(Envelope, audit=audit, metrics=state.metrics)
    return app


def _body_of(form: type[Form]) -> dict[str, Any]:
    """Return the description of a body that is a form."""
    return {"requestBody": {"required": True, "content": {JSON: {"schema": form.model_json_schema()}}}}


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
            if isinstance(form, AnswerForm) and form.stream:
                return stream_answers(self._state, form, access)
            return answer(await self._state.run(operation.name, form, access))

        return endpoint

    def reads(self) -> dict[str, Endpoint]:
        """Return the endpoints that are asked without a body, by their addresses."""
        return {
            "/v1/indexes": self.indexes,
            "/healthz": self.healthz,
            "/readyz": self.readyz,
            "/metrics": self.metrics,
        }

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
        memories = [
            {**indexes(served, Form(), access), "problem": self._problem(served.name, access)} for served in allowed
        ]
        limits = self._settings.limits.model_dump(mode="json")
        return answer({"limits": limits, "can": self._state.offers(access), "memories": memories})

    def _problem(self, memory: str, access: Access) -> str | None:
        """Return why something of a memory is not served; it may name any index, and rows by their files."""
        sees_all = access.indexes is None and access.where is None
        return self._state.memories.problem(memory) if sees_all else None

    async def healthz(self, request: Request) -> Response:
        """Say that the process lives."""
        return answer({"status": "alive"})

    async def readyz(self, request: Request) -> Response:
        """Say whether all memories are open and warm, and how many of them have a problem."""
        ready = self._state.ready
        state = {"status": "ready" if ready else "opening", "problems": len(self._state.memories.problems)}
        return answer(state, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Return what all replicas count and measure, for Prometheus."""
        request.state.access.require("admin")
        return Response(exposition(await self._state.replicas.families()), media_type=CONTENT_TYPE)

    async def reload(self, request: Request) -> Response:
        """Serve the newest snapshot of a memory, or of all, in all replicas."""
        access = request.state.access
        access.require("admin")
        body = await self._body(request)
        if isinstance(body, Problem):
            return refuse(body)
        form = request.state.form = Form.model_validate_json(body)
        if form.memory is not None or access.memories is not None:
            # Refuses memories that are not there, and those that the key is not for.
            form = Form(memory=self._state.memories.get(form.memory, access).name)
        replicas = await self._state.replicas.reload(form.memory)
        problems = [one["problem"] for memories in replicas.values() for one in memories if one["problem"]]
        if problems:
            # Replicas say the same of a memory; each memory is named.
            raise SnapshotRefusedError("; ".join(dict.fromkeys(problems)))
        return answer({"replicas": replicas})

    async def strayed(self, request: Request, error: Exception) -> Response:
        """Answer what is addressed to nothing."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        problem = _STATUSES.get(status)
        return refuse(problem or Problem(status, "refused", "the request is refused", "See /docs"))
