"""The operation `answer`: questions in, answers of pairs or of a model out, at once or as they come."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest
from chat_server import ChatServer, Reply
from http_server import serving
from language_models import saved
from starlette.testclient import TestClient

from mnemodex.deploy.access import OPEN
from mnemodex.deploy.app import http_app
from mnemodex.deploy.operations.answer import AnswerForm, answer
from mnemodex.deploy.readers import Readers, name_readers
from mnemodex.deploy.service import Service
from mnemodex.deploy.settings import Limits, ServerSettings
from mnemodex.deploy.threads import BoundedThreads
from mnemodex.schemas.errors import AccessError, BusyError, ChatServerError, ModelError, UserError

QUESTIONS = ["Who winds the lamp of the lighthouse?", "What is stored in straw?"]


def written(request):
    """What the model writes: the last word of the question."""
    question = request["messages"][-1]["content"].rpartition("Question: ")[2]
    return f"It is asked. Answer: {question.split('?')[0].split()[-1]}"


@pytest.fixture(scope="module")
def chat():
    with ChatServer(written) as server:
        yield server


@contextlib.contextmanager
def asking(library, server=None, **changes):
    """A client of a server with that model."""
    readers = {} if server is None else {"wise": f"{server.url}#model"}
    settings = ServerSettings(memories={"library": library}, readers=readers, **changes)
    app = http_app(settings, Service(settings))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def client(library, chat):
    with asking(library, chat) as made:
        yield made


def post(client, status=200, **body):
    found = client.post("/v1/answer", json={"questions": QUESTIONS, **body})
    assert found.status_code == status, found.text
    return found.json()


def events(text):
    """The names and data of server-sent events."""
    parts = [part.split("\n") for part in text.split("\n\n") if part]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in parts]


def test_pairs_answer_without_a_model(library, memory):
    with asking(library) as client:
        found = post(client, index="asked")
    expected = memory.retriever("asked").predictions(QUESTIONS)
    assert (found["memory"], found["index"], found["reader"]) == ("library", "asked", "pairs")
    assert [entry["answer"] for entry in found["answers"]] == [prediction.answer for prediction in expected]


def test_a_model_answers_from_passages(client, chat):
    found = post(client, index="words", k=3)
    assert found["reader"] == "wise" and [entry["answer"] for entry in found["answers"]] == ["lighthouse", "straw"]
    for entry in found["answers"]:
        assert len(entry["hits"]) == 3 and entry["thought"] == "It is asked." and entry["error"] is None
    assert any("two hundred steps" in request["messages"][-1]["content"] for request in chat.requests)


def test_a_model_answers_from_pairs(client):
    found = post(client, index="asked", reader="wise", k=2)
    assert found["reader"] == "wise" and [len(entry["pairs"]) for entry in found["answers"]] == [2, 2]


def test_a_filter_bounds_what_is_read(client):
    (entry, _) = post(client, index="words", where="d.key LIKE 'mill%'")["answers"]
    assert all(hit["key"].startswith("mill") for hit in entry["hits"])


def test_a_model_of_this_machine_answers(library, tmp_path, memory):
    readers = Readers.open({"small": saved("gpt2", tmp_path)}, seconds=60)
    served = Service(ServerSettings(memories={"library": library})).memories.get(None)
    found = answer(served, AnswerForm(index="asked", questions=["a"], reader="small", k=1), OPEN, readers=readers)
    assert found["reader"] == "small" and len(found["answers"]) == 1


def test_answers_are_streamed_as_they_come(library):
    def slow_first(request):
        return Reply(written(request), delay=0.5 if "lamp of the lighthouse?" in str(request["messages"][-1]) else 0.0)

    with ChatServer(slow_first) as server, asking(library, server) as client:
        streamed = client.post("/v1/answer", json={"questions": QUESTIONS, "index": "words", "stream": True})
        whole = post(client, index="words")
    assert streamed.headers["content-type"].startswith("text/event-stream")
    second, first, (end, data) = events(streamed.text)
    assert (end, data) == ("end", {"questions": 2})
    assert [name for name, _ in (second, first)] == ["answer"] * 2 and second[1]["number"] == 1
    assert [event[1]["answer"] for event in (first, second)] == whole["answers"]


def test_what_a_model_writes_is_streamed_as_it_writes(library):
    with ChatServer(lambda request: Reply(written(request), streams=0.02)) as server, asking(library, server) as client:
        body = {"questions": QUESTIONS, "index": "words"}
        streamed = events(client.post("/v1/answer", json={**body, "stream": True}).text)
        whole = post(client, index="words")
    for number, entry in enumerate(whole["answers"]):
        own = [(name, data) for name, data in streamed if data.get("number") == number]
        texts = [data["text"] for name, data in own if name == "text"]
        assert len(texts) > 3 and "".join(texts) == f"It is asked. Answer: {entry['answer']}"
        assert [name for name, _ in own] == ["text"] * len(texts) + ["answer"]
        answer = own[-1][1]["answer"]
        assert {**answer, "tokens": None} == {**entry, "tokens": None}
        assert answer["tokens"] == {"prompt": 7, "completion": len(texts)}
    assert all(request["stream_options"] == {"include_usage": True} for request in server.requests[:2])
    assert "stream" not in server.requests[-1]


def test_a_server_that_refuses_streams_answers_at_once(library):
    def refusing(request):
        if "stream" in request:
            return Reply(status=400, message="stream is not supported")
        return written(request)

    with ChatServer(refusing) as server, asking(library, server) as client:
        body = {"questions": QUESTIONS[:1], "index": "words", "stream": True}
        streamed = events(client.post("/v1/answer", json=body).text)
    assert [name for name, _ in streamed] == ["answer", "end"] and streamed[0][1]["answer"]["answer"] == "lighthouse"


def test_a_question_that_fails_is_an_event_and_the_others_are_answered(library):
    with asking(library) as client:
        body = {"questions": ["a", "\ud800"], "index": "asked", "stream": True}
        refused = client.post("/v1/answer", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert refused.status_code in (400, 422)
    script = tuple(Reply(status=400, message="no") for _ in range(1))
    with ChatServer(written, script=script) as server, asking(library, server) as client:
        streamed = events(
            client.post("/v1/answer", json={"questions": QUESTIONS, "index": "words", "stream": True}).text
        )
    answers = [data["answer"] for name, data in streamed if name == "answer"]
    assert sum(entry["error"] is not None for entry in answers) == 1 and len(answers) == 2


def test_who_stops_reading_stops_what_has_not_begun(library):
    with ChatServer(lambda request: Reply(written(request), delay=0.3)) as server:
        settings = ServerSettings(memories={"library": library}, readers={"wise": f"{server.url}#model"})
        with serving(settings) as url:
            body = {"questions": [f"question {number}" for number in range(60)], "index": "words", "stream": True}
            with httpx.stream("POST", f"{url}/v1/answer", json=body, timeout=60) as streamed:
                next(streamed.iter_lines())
            begun = -1
            while begun != len(server.requests):
                begun = len(server.requests)
                time.sleep(2)
    assert begun < 60


def test_a_slow_model_times_out_and_searches_are_answered_meanwhile(library):
    with (
        ChatServer(lambda request: Reply("late", delay=30)) as server,
        asking(library, server, limits=Limits(seconds=6)) as client,
        ThreadPoolExecutor(10) as pool,
    ):
        # The first one opens the index.
        client.post("/v1/search", json={"index": "words", "queries": ["a"]})
        late = [pool.submit(client.post, "/v1/answer", json={"questions": ["a"], "index": "words"}) for _ in range(10)]
        while len(server.requests) < 8:
            time.sleep(0.01)
        assert client.post("/v1/search", json={"index": "words", "queries": ["a"]}).status_code == 200
        assert client.post("/v1/fetch", json={"keys": ["mill-1"]}).status_code == 200
        for future in late:
            assert future.result().status_code == 504 and future.result().json()["error"]["code"] == "timeout"


def test_a_server_that_is_not_there_is_named_without_its_address(library):
    with ChatServer() as server:
        url = server.url
    settings = ServerSettings(memories={"library": library}, readers={"wise": f"{url}#model"})
    served = Service(settings)
    with pytest.raises(ChatServerError, match="reader 'wise'") as refused:
        answer(served.memories.get(None), AnswerForm(index="words", questions=["a"]), OPEN, readers=served.readers)
    assert url not in str(refused.value)
    with TestClient(http_app(settings, served), base_url="http://localhost") as client:
        error = post(client, 502, index="words")["error"]
    assert error["code"] == "reader" and url not in str(error)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"index": "nothing"}, 404),
        ({"index": "next"}, 400),
        ({"index": "words", "reader": "other"}, 400),
        ({"index": "words", "reader": "pairs"}, 400),
        ({"index": "words", "questions": []}, 422),
        ({"index": "words", "questions": ["a"] * 65}, 422),
        ({"index": "words", "k": 1001}, 422),
        ({"index": "words", "k": 0}, 422),
        ({"index": "words", "where": "1; DROP"}, 400),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_answered_is_refused(client, body, status, stream):
    if stream and "where" in body:
        return
    assert post(client, status, stream=stream, **body)["error"]["remedy"]


def test_a_server_without_models_says_how_it_gets_one(library):
    with asking(library) as client:
        assert "--reader" in str(post(client, 400, index="words")["error"])


def test_an_access_that_is_for_something_else_is_refused(library):
    served = Service(ServerSettings(memories={"library": library})).memories.get(None)
    form = AnswerForm(index="asked", questions=["a"])
    for changes in ({"scopes": frozenset({"search"})}, {"memories": frozenset()}, {"indexes": frozenset({"words"})}):
        with pytest.raises(AccessError):
            answer(served, form, replace(OPEN, **changes), readers=Readers({}, {}))


def test_an_access_without_the_index_of_passages_gets_no_answers_that_fall_back_to_it(library, monkeypatch):
    settings = ServerSettings(memories={"library": library})
    served = Service(settings).memories.get(None)
    monkeypatch.setitem(served.memory.snapshot.index("asked").settings, "fallback", "words")
    with pytest.raises(AccessError, match="words"):
        answer(
            served,
            AnswerForm(index="asked", questions=QUESTIONS),
            replace(OPEN, indexes=frozenset({"asked"})),
            readers=Readers({}, {}),
        )


def test_more_calls_than_run_and_wait_are_refused():
    end = threading.Event()
    with BoundedThreads("answer", running=1, waiting=1) as pool:
        calls = [pool.submit(end.wait, 60) for _ in range(2)]
        with pytest.raises(BusyError, match="answer: "):
            pool.submit(end.wait)
        assert calls[1].cancel()
        calls[1] = pool.submit(end.wait, 60)
        end.set()
        assert all(call.result() for call in calls)
        assert pool.submit(end.wait).result()


class TestNames:
    def test_readers_are_named(self):
        named = name_readers(["a=pkg:module/folder", "b=http://127.0.0.1:1/v1#big=model", "c=/models/x"])
        assert named == {"a": "pkg:module/folder", "b": "http://127.0.0.1:1/v1#big=model", "c": "/models/x"}

    @pytest.mark.parametrize(
        "arguments",
        [
            ["model"],
            ["=model"],
            ["a="],
            ["http://host/v1?a=b#m"],
            ["pairs=model"],
            ["a=x", "a=y"],
            ["a=http://host/v1"],
        ],
    )
    def test_what_names_none_is_refused(self, arguments):
        with pytest.raises(UserError, match="--reader"):
            name_readers(arguments)

    def test_a_model_that_is_not_there_is_refused_at_the_start(self, library, tmp_path):
        settings = ServerSettings(memories={"library": library}, readers={"small": str(tmp_path / "nothing")})
        with pytest.raises(ModelError):
            Service(settings)
