"""How a server is asked: keys, repetitions, and answers that are errors."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import httpx2
import pytest

from mnemodex.deploy.errors import problem_of
from mnemodex.deploy.proxy import LOST
from mnemodex.retrievers.remote import connection, problems
from mnemodex.retrievers.remote.calls import Call, Request
from mnemodex.retrievers.remote.connection import Address, AsyncConnection, Connection
from mnemodex.retrievers.remote.problems import LOSSES, Answer, read_answer
from mnemodex.schemas import errors
from mnemodex.schemas.errors import BusyError, ServerError

URL = "http://library.test/prefix"
CALL = Call((Request("/v1/search", {"queries": ["apples"]}),), lambda bodies: bodies[0])


def busy(status=429, **headers):
    body = {"error": {"code": "busy", "message": "too many", "remedy": "Try later"}}
    return httpx2.Response(status, json=body, headers=headers)


class Server:
    """Answers with one outcome after the other, and keeps what it was asked."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture(params=["threads", "event loop"])
def ask(request, monkeypatch):
    """Asks a server that may take a minute; pauses are kept, and the clock is their sum."""
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    monkeypatch.setattr(connection.time, "sleep", pauses.append)
    monkeypatch.setattr(connection.asyncio, "sleep", sleep)
    monkeypatch.setattr(problems, "monotonic", lambda: sum(pauses))

    def run(server, call=CALL, *, key=None, seconds=60.0):
        address, transport = Address.of(URL, key, seconds), httpx2.MockTransport(server)
        if request.param == "threads":
            return Connection(address, httpx2.Client(transport=transport)).ask(call)

        async def in_loop():
            async with httpx2.AsyncClient(transport=transport) as client:
                return await AsyncConnection(address, client).ask(call)

        return asyncio.run(in_loop())

    run.pauses = pauses
    return run


def test_a_request_has_the_key_and_its_body(ask):
    server = Server(httpx2.Response(200, json={"hits": []}))
    assert ask(server, key="abc") == {"hits": []}
    (request,) = server.requests
    assert (request.method, str(request.url)) == ("POST", f"{URL}/v1/search")
    assert request.headers["authorization"] == "Bearer abc" and request.headers["content-type"] == "application/json"
    assert json.loads(request.content) == {"queries": ["apples"]}


def test_without_a_key_none_is_sent(ask):
    server = Server(httpx2.Response(200, json={}))
    ask(server, Call((Request("/v1/indexes"),), list))
    assert server.requests[0].method == "GET" and "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(ask, status):
    server = Server(busy(status, **{"retry-after": "2"}), httpx2.Response(200, json={"done": True}))
    assert ask(server) == {"done": True} and ask.pauses == [2.0]


def test_a_server_may_name_the_moment(ask):
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    assert ask(Server(busy(**{"retry-after": moment}), httpx2.Response(200, json={}))) == {}
    assert 0 < ask.pauses[0] <= 20


def test_a_pause_that_would_use_up_the_time_is_not_made(ask):
    with pytest.raises(BusyError):
        ask(Server(busy(**{"retry-after": "86400"})))
    assert ask.pauses == []


@pytest.mark.parametrize("headers", [{}, {"retry-after": "soon"}, {"retry-after": "-1"}])
def test_a_server_that_names_no_time_is_not_asked_again(ask, headers):
    server = Server(busy(503, **headers))
    with pytest.raises(BusyError, match=r"too many\. Try later"):
        ask(server)
    assert len(server.requests) == 1


def test_a_server_that_stays_busy_is_asked_until_the_time_is_up(ask):
    server = Server(*[busy(**{"retry-after": "4"}) for _ in range(99)])
    with pytest.raises(BusyError):
        ask(server)
    assert 50 < sum(ask.pauses) < 60


def lost():
    return httpx2.Response(503, json=LOST.to_json(), headers={"retry-after": "1"})


@pytest.mark.parametrize("outcome", [lost, lambda: httpx2.Response(500, text="Internal Server Error")])
def test_a_replica_that_dies_is_no_failure(ask, outcome):
    assert ask(Server(outcome(), outcome(), httpx2.Response(200, json={"done": True}))) == {"done": True}


def test_a_question_that_ends_replicas_is_given_up(ask):
    server = Server(*[lost() for _ in range(9)])
    with pytest.raises(ServerError, match=r"is gone\. Ask again"):
        ask(server)
    assert len(server.requests) == LOSSES


@pytest.mark.parametrize("error", [httpx2.ReadError, httpx2.ConnectError, httpx2.RemoteProtocolError])
def test_a_broken_connection_is_opened_again(ask, error):
    assert ask(Server(error("reset by peer"), httpx2.Response(200, json={"done": True}))) == {"done": True}


def test_a_connection_that_stays_broken_is_given_up_after_longer_and_longer_pauses(ask):
    server = Server(*[httpx2.ReadError("reset by peer") for _ in range(9)])
    with pytest.raises(ServerError, match=r"http://library\.test/prefix: no connection \(reset by peer\)"):
        ask(server)
    assert len(server.requests) == LOSSES
    assert all(pause <= 0.15 * 2**number for number, pause in enumerate(ask.pauses))


@pytest.mark.parametrize(
    ("error", "message"),
    [(httpx2.ReadTimeout, "no answer within 5 s; ask for less, or pass timeout="), (httpx2.ConnectTimeout, "within 5")],
)
def test_what_took_too_long_is_not_asked_again(ask, error, message):
    server = Server(error("slow"))
    with pytest.raises(ServerError, match=message):
        ask(server, seconds=5.0)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, {"text": "<html>"}),
        (502, {"text": "bad gateway"}),
        (404, {"json": {"detail": "Not Found"}}),
        (307, {"headers": {"location": "/"}}),
        (500, {"json": ["error"]}),
    ],
)
def test_another_server_is_noticed(ask, status, content):
    with pytest.raises(ServerError, match=f"answers with status {status}, and not as a Mnemodex server"):
        ask(Server(*[httpx2.Response(status, **content) for _ in range(LOSSES)]))


def test_an_answer_of_another_version_is_noticed(ask):
    call = Call((Request("/v1/indexes"),), lambda bodies: bodies[0]["hits"])
    with pytest.raises(ServerError, match=r"KeyError: .*use one version of Mnemodex on both sides"):
        ask(Server(httpx2.Response(200, json={"found": []})), call)


CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and value.__module__ == errors.__name__]
SAID_OTHERWISE = {errors.MissingExtraError, errors.RateError}


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind not in SAID_OTHERWISE])
def test_an_error_of_the_server_is_raised_as_its_nearest_class_that_has_a_code(kind):
    problem = problem_of(kind("index 'a': is gone; build it again"), {})
    answer = Answer(problem.status, {}, json.dumps(problem.to_json()).encode())
    with pytest.raises(errors.MnemodexError, match=r"index 'a': is gone\. Build it again") as caught:
        read_answer(URL, answer)
    assert issubclass(kind, type(caught.value))
    if kind.__bases__ == (errors.QueryError,) or kind in {errors.QueryError, errors.ModelError, errors.AccessError}:
        assert type(caught.value) is kind


def test_a_key_that_asks_too_often_is_told_when_it_may_again():
    problem = problem_of(errors.RateError("key 'a': too many; wait", retry_after=2.5), {})
    with pytest.raises(errors.RateError) as caught:
        read_answer(URL, Answer(problem.status, {"retry-after": "3"}, json.dumps(problem.to_json()).encode()))
    assert caught.value.retry_after == 3


def test_a_snapshot_that_changes_between_two_requests_is_noticed():
    from mnemodex.retrievers.remote.received import same_snapshot

    with pytest.raises(ServerError, match="snapshot 000002 took the place of 000001"):
        same_snapshot([{"snapshot": "000001"}, {"snapshot": "000002"}])


def test_an_unknown_code_is_a_wrong_question_or_a_failure():
    for status, kind in ((418, errors.UserError), (599, errors.MnemodexError), (401, errors.KeyRefusedError)):
        body = {"error": {"code": "new", "message": "m", "remedy": "r"}}
        with pytest.raises(kind, match=r"m\. r"):
            read_answer(URL, Answer(status, {}, json.dumps(body).encode()))


class Keeping(BaseHTTPRequestHandler):
    """Keeps connections open, and closes them after some answers without a word."""

    protocol_version = "HTTP/1.1"
    connections: ClassVar[list[str]] = []
    answers_each: ClassVar[int] = 1000

    def setup(self):
        super().setup()
        self.connections.append(self.client_address)
        self.answered = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        if self.answered == self.answers_each:
            self.close_connection = True
            return
        self.answered += 1
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(("answers_each", "connections"), [(1000, 1), (4, 3)], ids=["kept", "broken"])
def test_a_connection_is_kept_between_calls_and_opened_again_when_the_server_drops_it(
    monkeypatch, answers_each, connections
):
    monkeypatch.setattr(Keeping, "connections", [])
    monkeypatch.setattr(Keeping, "answers_each", answers_each)
    with ThreadingHTTPServer(("127.0.0.1", 0), Keeping) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        made = Connection(Address.of(f"http://127.0.0.1:{server.server_port}", None, 60.0))
        assert [made.ask(CALL) for _ in range(12)] == [{}] * 12
        made.close()
        server.shutdown()
    assert len(Keeping.connections) == connections
