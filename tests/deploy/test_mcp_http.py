"""The tools of assistants over HTTP, asked by the client of the `mcp` package through a real socket."""

from __future__ import annotations

import asyncio
import json

import httpx
import httpx2
import pytest
from http_server import serving
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.testclient import TestClient

from mnemodex.deploy.app import http_app
from mnemodex.deploy.key_file import Key, add_key, new_token, now
from mnemodex.deploy.service import Service
from mnemodex.deploy.settings import Limits, ServerSettings


@pytest.fixture(scope="module")
def open_url(library):
    settings = ServerSettings(memories={"library": library}, sql=True, limits=Limits(body_bytes=10_000))
    with serving(settings) as url:
        yield url


def ask(url, name, /, key=None, mode="auto", **arguments):
    """Call a tool; its answer."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    async def run():
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
        ):
            return await client.call_tool(name, arguments)

    return asyncio.run(run())


def read(answer):
    assert not answer.is_error, answer.content
    (item,) = answer.content
    return json.loads(item.text)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_tools_are_called_over_http(open_url, mode):
    results = read(ask(open_url, "search", mode=mode, query="lighthouse keeper", index="words"))["results"]
    assert results[0]["id"].startswith("library/lighthouse")
    assert read(ask(open_url, "fetch", mode=mode, id=results[0]["id"]))["text"].startswith("A lighthouse keeper")
    assert read(ask(open_url, "sql", mode=mode, query="SELECT 1 AS one"))["rows"] == [[1]]


def test_a_key_is_asked_for_and_bounds_what_it_may(library, tmp_path):
    token, digest = new_token()
    given = {"name": "reader", "scopes": ["search"], "where": "d.key LIKE 'mill%'", "sha256": digest, "created": now()}
    add_key(tmp_path / "keys.json", Key.model_validate(given))
    audit = tmp_path / "audit.jsonl"
    settings = ServerSettings(memories={"library": library}, keys=tmp_path / "keys.json", audit=audit, sql=True)
    with serving(settings) as url:
        for headers in ({}, {"Authorization": "Bearer nothing"}):
            refused = httpx.post(f"{url}/mcp", json={}, headers=headers)
            assert refused.status_code == 401 and refused.json()["error"]["remedy"]
        results = read(ask(url, "search", token, query="a lighthouse keeper borrows an engine", index="words"))[
            "results"
        ]
        assert results and all(result["id"].startswith("library/mill") for result in results)
        assert "scope" in ask(url, "sql", token, query="SELECT 1").content[0].text
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert any(line["key"] == "reader" and line["index"] == "words" for line in lines)
    assert "lighthouse" not in audit.read_text() and token not in audit.read_text()


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_a_page_of_another_site_is_refused(open_url, headers):
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accepted = {"Accept": "application/json, text/event-stream"}
    assert httpx.post(f"{open_url}/mcp", json=call, headers=accepted | headers).status_code in (403, 421)


def test_a_body_that_is_too_large_is_refused(open_url):
    headers = {"Accept": "application/json, text/event-stream"}
    assert httpx.post(f"{open_url}/mcp", json={"a": "x" * 20_000}, headers=headers).status_code == 413


def test_without_its_extra_the_server_names_it(library, monkeypatch):
    monkeypatch.setattr("mnemodex.deploy.mcp_http.find_spec", lambda name: None)
    settings = ServerSettings(memories={"library": library})
    with TestClient(http_app(settings, Service(settings)), base_url="http://localhost") as client:
        refused = client.post("/mcp", json={})
    assert refused.status_code == 404 and "mnemodex[mcp]" in refused.json()["error"]["remedy"]
