"""Random requests to a server: each is answered, or refused as it should be, none by an error of the server."""

from __future__ import annotations

import pytest
from fuzzing import rounds, stream
from request_fuzzing import assert_sound, random_request, send
from starlette.testclient import TestClient

from mnemodex.deploy.app import http_app
from mnemodex.deploy.service import Service
from mnemodex.deploy.settings import ServerSettings


@pytest.fixture(scope="module")
def client(library, tmp_path_factory):
    """A server that answers all that one can."""
    feedback = tmp_path_factory.mktemp("server") / "feedback.jsonl"
    service = Service(ServerSettings(memories={"library": library}, sql=True, feedback=feedback))
    service.warm()
    app = http_app(service.settings, service)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as made:
        yield made


@rounds(300, 10_000)
@pytest.mark.timeout(3000)
def test_no_random_request_is_an_error_of_the_server(client, rounds, counts):
    chance = stream("requests")
    for _ in range(rounds):
        request = random_request(chance)
        answer = send(client, request)
        assert_sound(answer, request)
        counts[f"answered {answer.status_code}"] += 1
