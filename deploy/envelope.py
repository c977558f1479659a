"""What surrounds each request: its id, the headers of its answer, and a line in the log."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from typing import TYPE_CHECKING, Any

from mnemodex.deploy.audit import Entry
from mnemodex.deploy.guard import OPEN_PATHS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mnemodex.deploy.audit import Audit
    from mnemodex.deploy.metrics import Metrics

_log = logging.getLogger("mnemodex.server")
_REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_LONGEST = 100
"""Characters of a path in the audit log."""
_QUESTIONS = ("queries", "questions", "phrases", "texts", "keys", "chunk_ids")
"""What forms call that of which a request may have several."""
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
)
"""Of answers that do not say otherwise."""


class Envelope:
    """An ASGI middleware around the application."""

    def __init__(self, app: ASGIApp, *, audit: Audit | None, metrics: Metrics) -> None:
        self._app = app
        self._audit = audit
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _id_of(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        begun, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = {**dict(_HEADERS), **dict(message.get("headers", ())), b"x-request-id": request_id.encode()}
                message["headers"] = list(headers.items())
            await send(message)

        await self._app(scope, receive, send_with_headers)
        seconds = time.perf_counter() - begun
        ms = round(seconds * 1000, 1)
        self._metrics.request(getattr(scope.get("route"), "path", "other"), status, seconds)
        line = {"id": request_id, "method": scope["method"], "path": scope["path"], "status": status, "ms": ms}
        if self._audit is not None and scope["path"] not in OPEN_PATHS:
            self._audit.write(_entry(scope["path"], state, status, ms))
        level = logging.ERROR if status >= 500 else logging.INFO
        _log.log(level, json.dumps(line), exc_info=state.get("error"), extra={"request": line})


def _id_of(scope: Scope) -> str:
    """Return the id that a request brings, or a new one."""
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _entry(path: str, state: dict[str, Any], status: int, ms: float) -> Entry:
    """Return a request for the audit log: of what it asks, how many questions, and none of them."""
    access, form = state.get("access"), state.get("form")
    asked = next((len(getattr(form, name)) for name in _QUESTIONS if getattr(form, name, None)), 0)
    return Entry(
        request=state["request_id"],
        key=None if access is None else access.key_name,
        operation=path.removeprefix("/v1/")[:_LONGEST],
        memory=getattr(form, "memory", None),
        index=getattr(form, "index", None),
        questions=asked,
        status=status,
        ms=ms,
    )
