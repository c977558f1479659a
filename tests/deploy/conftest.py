"""A server of the library without Ray."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from mnemodex.deploy.app import http_app
from mnemodex.deploy.service import Service
from mnemodex.deploy.settings import ServerSettings


@pytest.fixture(scope="session")
def service(library):
    """The library, opened for serving."""
    made = Service(ServerSettings(memories={"library": library}))
    made.warm()
    return made


@pytest.fixture
def client(service):
    """Asks the library's server."""
    with TestClient(
        http_app(service.settings, service), base_url="http://127.0.0.1", raise_server_exceptions=False
    ) as made:
        yield made


@pytest.fixture
def post(client):
    """Asks an operation; the answer and its JSON."""

    def ask(operation, status=200, **body):
        answer = client.post(f"/v1/{operation}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    return ask
