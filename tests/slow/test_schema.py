"""Requests that schemathesis makes of the server's own description: none is an error of the server."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading

import pytest
import uvicorn
from starlette.testclient import TestClient

from mnemodex.deploy.app import http_app
from mnemodex.deploy.service import Service
from mnemodex.deploy.settings import ServerSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

PACKAGE = "schemathesis==4.32.5"
REQUESTS = 10_000


@pytest.fixture(scope="module")
def schemathesis(tmp_path_factory):
    """The program, in an environment of its own: it brings a plug-in of pytest that would load in every run."""
    folder = tmp_path_factory.mktemp("schemathesis") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    installing = [str(folder / "bin" / "pip"), "install", "--quiet", PACKAGE]
    if subprocess.run(installing, capture_output=True, check=False).returncode != 0:
        pytest.skip(f"{PACKAGE} cannot be installed here")
    return folder / "bin" / "schemathesis"


@pytest.fixture(scope="module")
def app(library, tmp_path_factory):
    feedback = tmp_path_factory.mktemp("server") / "feedback.jsonl"
    service = Service(ServerSettings(memories={"library": library}, sql=True, feedback=feedback))
    service.warm()
    return http_app(service.settings, service)


@pytest.fixture(scope="module")
def url(app):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def described(app):
    """The description of the server, with the names of what it serves: others are refused before anything is asked."""
    # It does not start the application, which the server has done.
    client = TestClient(app, base_url="http://127.0.0.1")
    schema = client.get("/openapi.json").json()
    (memory,) = client.get("/v1/indexes").json()["memories"]
    names = {"index": [index["name"] for index in memory["indexes"]], "memory": [None, memory["name"]]}
    operations = [operation for methods in schema["paths"].values() for operation in methods.values()]
    for operation in operations:
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        for name, values in names.items():
            if name in body.get("properties", {}):
                body["properties"][name] = {"enum": values}
    return schema, len(operations)


def test_no_request_of_schemathesis_is_an_error_of_the_server(schemathesis, app, url, tmp_path):
    schema, operations = described(app)
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(schema))
    each = -(-REQUESTS // operations)
    options = ["--url", url, "--checks", "not_a_server_error", "--max-examples", str(each), "--no-shrink"]
    phases = ["--phases", "examples,coverage,fuzzing", "--continue-on-failure"]
    command = [str(schemathesis), "run", str(file), *options, *phases]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ran.returncode == 0, ran.stdout
    generated, passed = map(int, re.search(r"(\d+) generated, (\d+) passed", ran.stdout).groups())
    assert generated == passed > operations * 10, ran.stdout
