"""Reaching a Ray cluster, or saying in seconds why it cannot be reached."""

from __future__ import annotations

import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from commands import assert_refused

import mnemodex
from mnemodex.pipelines import cluster
from mnemodex.schemas.errors import RayStartError


@pytest.fixture
def apart(monkeypatch):
    """As in a process that is connected to no cluster yet: other tests of this one may be."""
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)


@pytest.fixture
def listener():
    """A port of this machine where something listens and says nothing."""
    with socket.socket() as server:
        server.bind(("", 0))
        server.listen()
        yield server.getsockname()[1]


class Refusing(grpc.GenericRpcHandler):
    """Answers every call as a head node does whose token is another one."""

    def service(self, details):
        def refuse(request, context):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")

        return grpc.unary_unary_rpc_method_handler(refuse)


@pytest.fixture
def refusing():
    server = grpc.server(ThreadPoolExecutor(1), handlers=[Refusing()])
    port = server.add_insecure_port("0.0.0.0:0")
    server.start()
    yield port
    server.stop(None)


def test_rays_handler_of_terminations_does_not_take_the_place_of_ours(monkeypatch):
    import ray

    def init(**options):
        signal.signal(signal.SIGTERM, lambda number, frame: pytest.fail("Ray's own"))

    monkeypatch.setattr(ray, "init", init)
    came = []
    former = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        cluster._init("local", None, local=True)
        os.kill(os.getpid(), signal.SIGTERM)
        assert came == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, former)


@pytest.mark.usefixtures("apart")
class TestAddress:
    """Of a cluster that cannot be used."""

    @pytest.mark.parametrize("scheme", ["", "ray://"])
    def test_a_closed_port_is_one_message_within_ten_seconds(self, cli, recipe_file, listener, scheme):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            address = f"{scheme}127.0.0.1:{taken.getsockname()[1]}"
            began = time.monotonic()
            refused = cli("build", recipe_file, "--address", address)
        assert time.monotonic() - began < 10
        assert_refused(refused, code=1, saying=f"{address}: no Ray cluster can be reached there")
        assert "Check the address, the port and RAY_AUTH_TOKEN" in refused.err
        # It was not looked through first, which may take long.
        assert "source: " not in refused.err

    def test_a_port_where_nothing_answers_is_given_up(self, cli, recipe_file, listener, monkeypatch):
        assert cluster._PROBE_SECONDS <= 5
        monkeypatch.setattr(cluster, "_PROBE_SECONDS", 0.3)
        refused = cli("build", recipe_file, "--address", f"127.0.0.1:{listener}")
        assert_refused(refused, code=1, saying="no Ray cluster can be reached there (Deadline Exceeded)")

    @pytest.mark.parametrize("address", ["nowhere", "no host:1"])
    def test_what_is_no_address_is_said(self, recipe, address):
        with pytest.raises(RayStartError, match=rf"^{address}: no Ray cluster can be reached there"):
            mnemodex.build(recipe, address=address)

    @pytest.mark.parametrize("scheme", ["", "ray://"])
    def test_a_wrong_token_is_said(self, cli, recipe_file, refusing, scheme):
        refused = cli("build", recipe_file, "--address", f"{scheme}127.0.0.1:{refusing}")
        assert_refused(
            refused, code=1, saying="the Ray cluster refuses the token. Set RAY_AUTH_MODE=token and RAY_AUTH"
        )
