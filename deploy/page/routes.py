"""The routes of the page: its files as they are, with a policy that lets nothing else be loaded or run."""

from __future__ import annotations

from importlib import resources
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import FastAPI, Request, Response

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    # Pictures of graphs are images that the page makes of the server's answers: no script runs in an image.
    "img-src": "'self' blob:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    # No text can become HTML or a script, whatever the page's own code does.
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
HEADERS = {
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


_FILES = {
    "/" if entry.name == "index.html" else f"/page/{entry.name}": entry
    for entry in resources.files("mnemodex.deploy.page").iterdir()
    if PurePath(entry.name).suffix in _TYPES
}
PATHS = frozenset(_FILES)
"""The addresses of the page: `/` and, below `/page/`, what it loads. None of it says anything of a memory."""


def add_page(app: FastAPI) -> None:
    """Add the routes."""
    from fastapi import Request

    for path, entry in _FILES.items():
        endpoint = _endpoint(entry.read_bytes(), _TYPES[PurePath(entry.name).suffix])
        # FastAPI reads annotations, but not the names of a function's own scope.
        endpoint.__annotations__ = {"request": Request}
        app.add_api_route(path, endpoint, methods=["GET", "HEAD"], include_in_schema=False)


def _endpoint(data: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        from fastapi import Response

        return Response(data, media_type=media_type, headers=HEADERS)

    return answer
