"""Asking chat servers: what is tried again, what is given up, and what a server does not know."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from itertools import pairwise

import pytest
from chat_server import ChatServer, Reply

from mnemodex.indexers.models import chat as chat_module
from mnemodex.indexers.models.chat import Answer, Chat
from mnemodex.schemas.errors import ChatServerError, ModelError, NoAnswerError

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
QUESTION = [{"role": "system", "content": "Answer in JSON."}, {"role": "user", "content": "two words"}]


def chat(server, **options):
    return Chat(server.url, "small", **{"max_retries": 2, "timeout": 5.0, **options})


def formats(server):
    return [request.get("response_format", {}).get("type") for request in server.requests]


def test_an_answer_has_its_words_and_its_tokens():
    with ChatServer(lambda request: request["messages"][-1]["content"].upper()) as server:
        assert chat(server, options={"max_tokens": 7}).ask(QUESTION) == Answer("TWO WORDS", 5, 2)
    (request,) = server.requests
    assert (request["model"], request["temperature"], request["max_tokens"]) == ("small", 0.0, 7)
    assert "response_format" not in request


def test_an_answer_that_ends_at_the_limit_of_tokens_says_so():
    with ChatServer(lambda request: Reply("half a", finish="length")) as server:
        assert chat(server).ask(QUESTION).cut


def test_a_rate_limit_is_waited_for_as_long_as_the_server_says():
    with ChatServer(lambda request: "ok", script=(Reply(status=429, headers={"Retry-After": "0.7"}),)) as server:
        assert chat(server).ask(QUESTION).text == "ok"
    first, second = server.times
    assert 0.7 <= second - first < 5


def test_a_failing_server_is_asked_again_after_times_that_grow():
    with ChatServer(lambda request: "ok", script=(Reply(status=500), Reply(status=503))) as server:
        assert chat(server).ask(QUESTION).text == "ok"
    first, second = (later - earlier for earlier, later in pairwise(server.times))
    assert 0.3 < first < second


def test_a_server_that_fails_at_ten_questions_in_a_row_is_asked_no_more():
    replies = [Reply(status=500), Reply("fine"), *[Reply(status=503, message="too busy")] * 10]
    with ChatServer(script=tuple(replies)) as server:
        model = chat(server, max_retries=0, concurrency=1)
        with pytest.raises(
            ChatServerError, match=r"answers 503 \(too busy\).*, like 9 questions before it; look after"
        ):
            model.ask_many([QUESTION] * 20)
    # One more may be on its way when the tenth failure is known.
    assert 12 <= len(server.requests) <= 13


def test_a_question_that_the_server_always_fails_at_has_no_answer():
    with (
        ChatServer(lambda request: Reply(status=500, message="out of order")) as server,
        pytest.raises(NoAnswerError, match=r"answers 500.*out of order"),
    ):
        chat(server, max_retries=1).ask(QUESTION)
    assert len(server.requests) == 2


def test_an_answer_that_takes_too_long_is_given_up():
    with ChatServer(lambda request: Reply("late", delay=2)) as server:
        began = time.monotonic()
        with pytest.raises(NoAnswerError, match=r"no answer within 0.2 s, asked 1 times"):
            chat(server, timeout=0.2, max_retries=0).ask(QUESTION)
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_that_never_ends_is_given_up(status):
    with ChatServer(lambda request: Reply("late", status=status, drip=0.05)) as server:
        began = time.monotonic()
        with pytest.raises(NoAnswerError, match=r"no answer within 0.4 s"):
            chat(server, timeout=0.4, max_retries=0).ask(QUESTION)
        assert time.monotonic() - began < 2


def test_no_more_is_read_of_an_answer_than_any_answer_has(monkeypatch):
    monkeypatch.setattr(chat_module, "_MOST", 2 << 20)
    with (
        ChatServer(lambda request: "x" * (3 << 20)) as server,
        pytest.raises(NoAnswerError, match="larger than 2 MiB"),
    ):
        chat(server).ask(QUESTION)
    assert len(server.requests) == 1


def test_a_redirect_is_not_followed(monkeypatch):
    monkeypatch.setenv("MY_KEY", "open sesame")
    with ChatServer(lambda request: "ok") as other:
        elsewhere = f"{other.url}/chat/completions"
        for status in (301, 302, 307, 308):
            reply = Reply(status=status, headers={"Location": elsewhere})
            with (
                ChatServer(lambda request, reply=reply: reply) as server,
                pytest.raises(ChatServerError, match=f"answers {status}, a redirect to {elsewhere}.* set base_url"),
            ):
                chat(server, api_key_env="MY_KEY").ask(QUESTION)
    assert other.requests == []


def said(body):
    """What is said of an answer with status 200 and this body."""
    text = body if isinstance(body, str) else json.dumps(body)
    with (
        ChatServer(lambda request: Reply(body=text)) as server,
        pytest.raises((NoAnswerError, ChatServerError)) as caught,
    ):
        chat(server, max_retries=0).ask(QUESTION)
    assert server.url in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "out of credit", "code": None}},
        {"error": "out of credit"},
        {"error": {"code": 500, "message": "out of credit"}},
        {"detail": "out of credit"},
        {"object": "error", "message": "out of credit"},
        "<html><body>out of <b>credit</b></body></html>",
        'data: {"error": {"message": "out of credit"}}\n\ndata: [DONE]\n\n',
    ],
)
def test_the_servers_own_words_are_said(body):
    assert "out of" in str(said(body)) and "credit" in str(said(body)) and "<" not in str(said(body))


def test_an_error_within_an_answer_may_concern_all():
    assert isinstance(said({"error": {"code": 401, "message": "who?"}}), ChatServerError)
    assert isinstance(said({"error": {"code": 400, "message": "too long"}}), NoAnswerError)


def answered(message, **others):
    body = {"choices": [{"message": message, "finish_reason": "stop"}], **others}
    with ChatServer(lambda request: Reply(body=json.dumps(body))) as server:
        return chat(server).ask(QUESTION)


@pytest.mark.parametrize("count", ["x", None, -1, 1.5, [3]])
def test_tokens_that_are_no_number_are_not_counted(count):
    assert answered({"content": "ok"}, usage={"prompt_tokens": count, "completion_tokens": 3}) == Answer("ok", 0, 3)
    assert answered({"content": "ok"}, usage=count) == Answer("ok", 0, 0)


def test_parts_are_joined_and_thinking_is_left_out():
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Ly"}, {"type": "text", "text": "on"}]
    assert answered({"content": parts}).text == "Lyon"
    assert answered({"content": "Lyon", "reasoning_content": "Paris?"}).text == "Lyon"
    assert answered({"content": "<think>Paris?</think>Lyon"}).text == "Lyon"
    assert answered({"content": None, "reasoning_content": "Paris?"}).text == ""


def test_a_stream_that_nobody_asked_for_is_joined():
    deltas = [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "hm"},
        {"content": "Ly"},
        {"content": "on"},
        {},
    ]
    events = [{"choices": [{"delta": delta, "finish_reason": None if delta else "length"}]} for delta in deltas]
    body = ": hello\n\n" + "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    with ChatServer(lambda request: Reply(body=body, headers={"Content-Type": "text/event-stream"})) as server:
        assert chat(server).ask(QUESTION) == Answer("Lyon", 0, 0, cut=True)


@pytest.mark.parametrize(
    ("refuses", "status", "message", "left_out"),
    [
        (lambda r: "temperature" in r, 400, "Unsupported value: 'temperature' does not support 0.0", ["temperature"]),
        (lambda r: "temperature" in r, 422, "temperature: extra inputs are not permitted", ["temperature"]),
        (
            lambda r: "max_tokens" in r,
            400,
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
            ["max_tokens, which it calls max_completion_tokens"],
        ),
        (lambda r: {"max_tokens", "max_completion_tokens"} & r.keys(), 400, "unknown field {}", ["max_tokens"]),
        (lambda r: "seed" in r, 400, "unknown parameter `seed`", ["seed"]),
        (lambda r: r["messages"][0]["role"] == "system", 400, "System role not supported", ["system messages"]),
        (
            lambda r: r["messages"][0]["role"] == "system",
            500,
            "Conversation roles must alternate user/assistant",
            ["system messages"],
        ),
        (
            lambda r: "response_format" in r,
            404,
            "No endpoints found that support structured outputs",
            ["the format json_schema", "the format json_object"],
        ),
        (
            lambda r: r.get("response_format", {}).get("type") == "json_schema",
            500,
            "failed to parse grammar",
            ["the format json_schema"],
        ),
        (
            lambda r: "response_format" in r,
            400,
            "this engine was started without xgrammar2",
            ["the format json_schema", "the format json_object"],
        ),
        (
            lambda r: "response_format" in r,
            400,
            "not with this engine",
            ["the format json_schema", "the format json_object"],
        ),
    ],
)
def test_what_a_server_refuses_is_left_out_and_remembered(refuses, status, message, left_out):
    def answer(request):
        if refuses(request):
            named = next((name for name in ("max_completion_tokens", "max_tokens") if name in request), "")
            return Reply(status=status, message=message.format(named))
        return "ok"

    with ChatServer(answer) as server:
        client = chat(server, options={"max_tokens": 7, "seed": 3, "top_k": 2}, max_retries=0)
        assert client.ask(QUESTION, schema=SCHEMA).text == "ok"
        assert client.left_out == left_out
        asked = len(server.requests)
        assert client.ask(QUESTION, schema=SCHEMA).text == "ok"
        assert len(server.requests) == asked + 1
    last = server.requests[-1]
    assert "Answer in JSON." in "".join(message["content"] for message in last["messages"])
    kept = {"temperature": 0.0, "max_tokens": 7, "seed": 3, "top_k": 2}
    assert {name: last[name] for name in kept if name in last} == {
        name: value for name, value in kept.items() if not any(name in words for words in left_out)
    }
    assert (last.get("max_completion_tokens") == 7) == any("which it calls" in words for words in left_out)


@pytest.mark.parametrize(
    "message",
    ["max_tokens is too large: 99999", "the context is too long", "the model small does not exist", "content filter"],
)
def test_a_refusal_of_a_question_is_said_and_nothing_is_left_out(message):
    with ChatServer(lambda request: Reply(status=400, message=message)) as server:
        client = chat(server, options={"max_tokens": 99999}, max_retries=0)
        with pytest.raises(NoAnswerError, match=message):
            client.ask(QUESTION, schema=SCHEMA)
        assert client.left_out == [] and len(server.requests) == 1


def test_a_server_that_refuses_everything_is_guessed_at_once_only():
    with ChatServer(lambda request: Reply(status=400, message="no")) as server:
        client = chat(server, max_retries=0)
        for _ in range(3):
            with pytest.raises(NoAnswerError, match=r"answers 400 \(no\)"):
                client.ask(QUESTION, schema=SCHEMA)
        assert client.left_out == [] and len(server.requests) == 5


def test_a_forked_process_asks_by_itself():
    with ChatServer(lambda request: "ok") as server:
        client = chat(server)
        assert client.ask(QUESTION).text == "ok"
        child = os.fork()
        if child == 0:
            os._exit(0 if client.ask(QUESTION).text == "ok" else 1)
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(body="<html>hello</html>", headers={"Content-Type": "text/html"}), "no text"),
        (Reply(body='{"choices": ['), "not of the chat protocol"),
        (Reply(body='{"choices": []}'), "no text"),
        (Reply(body="[]"), "no text"),
        (Reply(content=None), "no text"),
        (Reply(status=400, message="the context is too long"), "answers 400.*too long"),
    ],
)
def test_what_is_no_answer_is_said(reply, reason):
    with ChatServer(lambda request: reply) as server, pytest.raises(NoAnswerError, match=reason):
        chat(server, max_retries=0).ask(QUESTION)


def test_a_server_that_is_not_there_answers_nothing():
    with ChatServer() as server:
        url = server.url
    with pytest.raises(ChatServerError, match="cannot be reached"):
        Chat(url, "small", max_retries=0).ask(QUESTION)


def test_a_wrong_key_and_path_and_too_many_questions_end_everything(monkeypatch):
    monkeypatch.setenv("MY_KEY", "open sesame")
    with ChatServer(lambda request: "ok", key="open sesame") as server:
        assert chat(server, api_key_env="MY_KEY").ask(QUESTION).text == "ok"
        with pytest.raises(ChatServerError, match=r"401.*environment variable OTHER_KEY") as caught:
            chat(server, api_key_env="OTHER_KEY").ask(QUESTION)
        assert "sesame" not in str(caught.value)
        with pytest.raises(ChatServerError, match=r"404.*/v1"):
            Chat(server.url + "/nowhere", "small").ask(QUESTION)
    with ChatServer(lambda request: Reply(status=429)) as server, pytest.raises(ChatServerError, match="concurrency"):
        chat(server, max_retries=0).ask(QUESTION)


def test_the_line_break_after_a_key_is_left_out_and_what_can_be_no_key_is_not_shown(monkeypatch):
    monkeypatch.setenv("MY_KEY", "open sesame\n")
    with ChatServer(lambda request: "ok", key="open sesame") as server:
        assert chat(server, api_key_env="MY_KEY").ask(QUESTION).text == "ok"
        monkeypatch.setenv("MY_KEY", "open\nsesame")
        with pytest.raises(ModelError, match=r"environment variable MY_KEY .*; set it to the key alone") as caught:
            chat(server, api_key_env="MY_KEY")
        assert "sesame" not in str(caught.value)


def test_a_schema_is_asked_for_where_the_server_knows_schemas():
    with ChatServer(lambda request: {"a": "b"}) as server:
        assert chat(server).ask(QUESTION, schema=SCHEMA).text == '{"a": "b"}'
    (request,) = server.requests
    assert request["response_format"]["json_schema"]["schema"] == SCHEMA


@pytest.mark.parametrize(
    ("known", "asked"),
    [(("json_object",), ["json_schema", "json_object"]), ((), ["json_schema", "json_object", None])],
)
def test_what_the_server_does_not_know_is_asked_for_once(known, asked):
    with ChatServer(lambda request: {"a": "b"}, formats=known) as server:
        client = chat(server)
        for _ in range(3):
            assert client.ask(QUESTION, schema=SCHEMA).text == '{"a": "b"}'
    assert formats(server) == [*asked, asked[-1], asked[-1]]


def test_another_refusal_is_not_taken_for_one_of_the_schema():
    with (
        ChatServer(lambda request: Reply(status=400, message="the context is too long")) as server,
        pytest.raises(NoAnswerError, match="too long"),
    ):
        chat(server).ask(QUESTION, schema=SCHEMA)
    assert formats(server) == ["json_schema"]


def test_many_are_asked_at_once_but_not_more_than_allowed_and_answered_in_order():
    def answer(request):
        word = request["messages"][0]["content"]
        return Reply(status=400, message="no such word") if word == "7" else Reply(word, delay=0.02)

    with ChatServer(answer) as server:
        words = [[{"role": "user", "content": str(number)}] for number in range(20)]
        answers = chat(server, concurrency=4).ask_many(words)
    assert [answer.text for answer in answers if isinstance(answer, Answer)] == [str(n) for n in range(20) if n != 7]
    assert isinstance(answers[7], NoAnswerError)
    assert 2 <= server.most <= 4


def test_many_end_when_the_server_refuses_all():
    with ChatServer(lambda request: "ok", key="secret") as server:
        with pytest.raises(ChatServerError):
            chat(server, concurrency=2).ask_many([QUESTION] * 50)
        assert len(server.requests) < 10


@pytest.fixture
def interruptible():
    """Python's own handler of SIGINT, which a program that was started in the background has not."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.usefixtures("interruptible")
def test_who_is_stopped_waits_for_no_answer():
    with ChatServer(lambda request: Reply("late", delay=30)) as server:
        asking = chat(server, timeout=60.0, concurrency=3)
        stop = threading.Timer(1.0, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
        stop.start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            asking.ask_many([QUESTION] * 6)
        assert time.monotonic() - started < 15
        assert len(server.requests) <= 3
