"""What the proxy of Ray Serve leaves unanswered is answered as JSON."""

from __future__ import annotations

import asyncio
import importlib
import json
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from mnemodex.deploy.proxy import MOST, middlewares
from mnemodex.deploy.ray_serve import PROXY


def asked(app, path="/"):
    (around,) = middlewares()
    client = TestClient(around.cls(app), raise_server_exceptions=False)
    return client.get(path, headers={"x-request-id": "abc"})


def app_of(response, path="/"):
    return Starlette(routes=[Route(path, lambda request: response)])


def test_an_answer_of_a_replica_passes():
    refused = JSONResponse({"error": {"code": "invalid"}}, 422)
    for given in (refused, PlainTextResponse("mnemodex_snapshot 1")):
        answer = asked(app_of(given))
        assert (answer.status_code, answer.content) == (given.status_code, given.body)


def test_the_health_of_the_proxy_is_its_own():
    assert asked(app_of(PlainTextResponse("draining", 503), "/-/healthz"), "/-/healthz").text == "draining"


async def silent(scope, receive, send):
    """As the proxy does when the replica that was answering dies."""
    await asyncio.sleep(0)


def test_a_request_whose_replica_died_may_be_sent_again():
    answer = asked(silent)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.headers["x-request-id"] == "abc"
    error = answer.json()["error"]
    assert error["code"] == "replica_lost" and error["remedy"]


@pytest.mark.parametrize(
    ("status", "given", "code"), [(503, 503, "unavailable"), (404, 503, "unavailable"), (408, 504, "timeout")]
)
def test_refusals_of_the_proxy_are_json(status, given, code):
    answer = asked(app_of(PlainTextResponse("Deployment is unavailable", status)))
    assert (answer.status_code, answer.json()["error"]["code"]) == (given, code)
    assert ("retry-after" in answer.headers) == (given == 503)


def test_the_image_names_it_to_ray_serve():
    dockerfile = (Path(__file__).parents[2] / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    name, path = PROXY
    assert f"{name}={path} " in dockerfile
    module, _, function = path.partition(":")
    assert getattr(importlib.import_module(module), function) is middlewares


def test_more_requests_than_the_proxy_takes_are_refused_at_once(monkeypatch):
    monkeypatch.setenv(MOST, "2")
    (around,) = middlewares()
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow(scope, receive, send):
        begun.set()
        await may_end.wait()
        await JSONResponse({"hits": []})(scope, receive, send)

    async def ask(app, path):
        sent = []

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": path, "headers": [(b"x-request-id", b"abc")]}
        await app(scope, None, send)
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]

    async def scene():
        app = around.cls(slow, **around.kwargs)
        waiting = [asyncio.create_task(ask(app, "/v1/search")) for _ in range(2)]
        await begun.wait()
        await asyncio.sleep(0)
        status, headers, body = await ask(app, "/v1/search")
        assert (status, headers[b"retry-after"], headers[b"x-request-id"]) == (429, b"1", b"abc")
        assert json.loads(body)["error"]["code"] == "busy"
        health = asyncio.create_task(ask(app, "/healthz"))
        may_end.set()
        assert [status for status, *_ in await asyncio.gather(*waiting, health)] == [200] * 3
        assert (await ask(app, "/v1/search"))[0] == 200

    asyncio.run(scene())
