"""Asking chat servers: what is tried again, what is given up, and what a server does not know."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from chat_server import ChatServer, Reply

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
