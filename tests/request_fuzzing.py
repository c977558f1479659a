"""Requests that no client sends: of a server's operations, in every way wrong."""

from __future__ import annotations

import json
import re
import string
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sql_attacks import ATTACKS

if TYPE_CHECKING:
    import random

    from httpx2 import Response
    from starlette.testclient import TestClient

FORMS: dict[str, dict[str, Any]] = {
    "search": {"index": "words", "queries": ["a keeper"], "k": 3, "where": "d.year > 1901", "explain": True},
    "fetch": {"keys": ["mill-1"]},
    "embed": {"texts": ["a lamp"], "embedding": "minilm"},
    "ngrams": {"index": "ngrams", "phrases": ["the"], "what": "count", "limit": 3},
    "next-token": {"index": "next", "keys": [[0.5] * 32], "k": 2},
    "answer": {"index": "asked", "questions": ["who?"], "stream": False},
    "sql": {"query": "SELECT count(*) FROM chunks"},
    "feedback": {"question": "who?", "index": "words", "key": "mill-1", "good": True},
    "reload": {},
}
"""A request of each operation that is well formed."""

INDEXES = ["words", "flat", "ngrams", "keys", "bridge", "hipporag2", "next", "asked", "hops", "both", "all", "none", ""]
PATHS = ["/", "/v1", "/v1/", "/v1/indexes", "/v1/graph", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"]
HOSTILE_PATHS = [
    "/v1/../../etc/passwd",
    "/v1/%2e%2e/%2e%2e/etc/passwd",
    "/page.css%00",
    "/v1/search/",
    "//v1/search",
    "/v1/search?index=words",
    "/v1/graph?memory=library&index=bridge&question=%ff",
    "/%F0%9F%92%A9",
    "/" + "a" * 5000,
]
METHODS = ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "POST", "FOO"]
TYPES = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "",
    "application/json; charset=utf-16",
]
LETTERS = string.printable + "äß\u3000\u200d\u202e港🌊\x00\x1b\ufeff"
JUNK: list[Any] = [
    None,
    True,
    0,
    -1,
    1_000_000,
    10**30,
    -(2**63),
    0.5,
    float("nan"),
    float("inf"),
    1e308,
    "",
    " ",
    "\x00",
    "\ud800",
    "a" * 50_000,
    "港",
    "../../etc/passwd",
    "1=1) OR (1=1",
    "EXISTS (FROM documents)",
    "error(text)",
    "text::INTEGER > 0",
    "(" * 3000,
    "d" + ".a" * 2000,
    [],
    [[]],
    [None],
    [""],
    ["\ud800"],
    ["a"] * 65,
    [1, "a", None],
    [[1e39] * 32],
    [[0.0] * 33],
    {},
    {"a": {"b": []}},
    {"data": "!", "dtype": "float32", "shape": [1, 32]},
    {"data": "AAAA", "dtype": "object", "shape": [-1, 10**12]},
]
STATEMENTS = [statement for kind in ATTACKS.values() for statement in kind]


class Request(NamedTuple):
    """A request as it is sent."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes


def random_request(chance: random.Random) -> Request:
    """Return a request of an operation, which is well formed, or wrong in some ways."""
    operation = chance.choice(list(FORMS))
    path, method = f"/v1/{operation}", "POST"
    headers = {"Content-Type": "application/json"}
    content = _spell(chance, _form(chance, operation))
    if chance.random() < 0.05:
        path = chance.choice([*PATHS, *HOSTILE_PATHS])
        method = chance.choice(["GET", "POST"])
    if chance.random() < 0.05:
        method = chance.choice(METHODS)
    if chance.random() < 0.05:
        headers["Content-Type"] = chance.choice(TYPES)
    if chance.random() < 0.1:
        content = _damage(chance, content)
    if chance.random() < 0.1:
        headers["x-request-id"] = "".join(chance.choices(string.printable[:95], k=chance.choice([1, 30, 300])))
    if chance.random() < 0.05:
        headers["Authorization"] = chance.choice(["Bearer", "Bearer x", "Basic YTpi", "x" * 9000])
    if chance.random() < 0.05:
        headers[chance.choice(["Accept", "Range", "Content-Encoding", "X-Forwarded-Host", "Expect"])] = (
            "bytes=0-1, gzip"
        )
    return Request(method, path, headers, content)


def _form(chance: random.Random, operation: str) -> Any:
    """Return a form of which none, some or all is wrong."""
    form = dict(FORMS[operation])
    if "index" in form:
        form["index"] = chance.choice(INDEXES)
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        name = chance.choice([*form, "memory", "where", "k", "other"])
        change = chance.random()
        if change < 0.15:
            form.pop(name, None)
        elif change < 0.3:
            form[name] = "".join(chance.choices(LETTERS, k=chance.randrange(40)))
        elif change < 0.4:
            form[name] = ["".join(chance.choices(LETTERS, k=chance.randrange(40))) for _ in range(chance.randrange(4))]
        elif change < 0.5:
            form[name] = chance.choice(STATEMENTS)
        else:
            form[name] = chance.choice(JUNK)
    return chance.choice(JUNK) if chance.random() < 0.02 else form


def _spell(chance: random.Random, form: Any) -> bytes:
    text = json.dumps(form, ensure_ascii=chance.random() < 0.5)
    return text.encode(errors="surrogatepass")


def _damage(chance: random.Random, content: bytes) -> bytes:
    """Return a body that is cut, has other bytes, is nested deeply, or is too large."""
    way = chance.randrange(6)
    if way == 0:
        return content[: chance.randrange(len(content) + 1)]
    if way == 1:
        place = chance.randrange(len(content) + 1)
        return content[:place] + chance.randbytes(3) + content[place:]
    if way == 2:
        return chance.randbytes(chance.randrange(200))
    if way == 3:
        return b"[" * 100_000
    if way == 4:
        return b'{"a":' * 5000 + b"1" + b"}" * 5000
    return content + b" " * (1 << 20)


def send(client: TestClient, request: Request) -> Response:
    """Send a request as it is."""
    sent = client.build_request(request.method, request.path, headers=request.headers, content=request.content)
    return client.send(sent)


def assert_sound(answer: Response, request: Request) -> None:
    """A request was answered, or refused with a code and a remedy, and no path of the machine was named."""
    assert answer.status_code < 500, (request, answer.text)
    assert re.fullmatch(r"[\w.:-]{1,64}", answer.headers["x-request-id"]), request
    assert_no_path(answer.text)
    if answer.status_code >= 400 and request.method != "HEAD":
        assert answer.json()["error"].keys() == {"code", "message", "remedy"}, (request, answer.text)


def assert_no_path(text: str) -> None:
    """An answer names no folder of this machine and no place in the code."""
    for path in (tempfile.gettempdir(), str(Path.home()), "site-packages", "Traceback", 'File "'):
        assert path not in text, text
