"""Answers as JSON: what an operation gives, and why a request is refused."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

if TYPE_CHECKING:
    from mnemodex.deploy.errors import Problem

JSON = "application/json"


def answer(content: dict[str, Any], status: int = 200, **headers: str) -> Response:
    """Return an answer as JSON; a lone surrogate of a text stays what it is."""
    body = json.dumps(content, allow_nan=False, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    return Response(body, status, headers, media_type=JSON)


def refuse(problem: Problem) -> Response:
    """Return the answer to a request that fails."""
    headers = {}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(problem.retry_after)))
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return answer(problem.to_json(), problem.status, **headers)
