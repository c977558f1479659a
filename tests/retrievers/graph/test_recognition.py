"""The model that keeps the facts that help."""

from __future__ import annotations

import pytest
from chat_server import ChatServer, Reply

from mnemodex.indexers.models.chat import Chat
from mnemodex.retrievers.graph.hipporag import Recognition
from mnemodex.schemas.errors import ChatServerError

FACTS = [("Lilli", "directed by", "Speyer"), ('Spey"er', "died in", "Амстердам"), ("x", "y", "__import__('os')")]


def asked(answer, **options):
    with ChatServer(answer if callable(answer) else lambda request: answer, **options) as server:
        kept = Recognition(Chat(server.url, "small", max_retries=0, timeout=1.0))("Where did the director die?", FACTS)
    return kept, server.requests


def test_the_model_sees_question_and_facts_and_its_choice_is_kept():
    kept, (request,) = asked({"keep": [1, 0, 1]})
    assert kept == [0, 1]
    text = request["messages"][-1]["content"]
    assert "Question: Where did the director die?" in text
    assert '1. ["Spey\\"er", "died in", "Амстердам"]' in text
    assert request["response_format"]["json_schema"]["schema"]["required"] == ["keep"]


def test_keeping_none_is_an_answer():
    assert asked({"keep": []})[0] == []


@pytest.mark.parametrize(
    "answer",
    [
        'Here:\n```json\n{"keep": [2, 0]}\n```',
        '<think>form {"keep": [NUMBERS]}, so 1</think>{"keep": [0, 2]}',
        "[0, 2]",
        '{"keep": ["0", "2"]}',
        '{"facts": [0, 2]}',
        'Fact [1] is not needed. {"keep": [0, 2]}',
    ],
)
def test_its_choice_is_understood_in_other_forms(answer):
    assert asked(answer)[0] == [0, 2]


@pytest.mark.parametrize(
    "answer",
    [
        "I keep the first one.",
        '{"keep": [0',
        '{"keep": [3]}',
        '{"keep": [-1]}',
        '{"keep": [true]}',
        '{"keep": ["x"]}',
        '{"keep": 0}',
        '{"facts": ["a"]}',
        "<think>0, so",
        "{" * 100_000 + "}",
        '{"keep": ' + "[" * 100_000 + "}",
        "",
    ],
)
def test_an_answer_of_another_form_is_none(answer):
    assert asked(answer)[0] is None


def test_a_model_that_does_not_answer_gives_none():
    for reply in (Reply("{}", delay=1.5), Reply(status=500)):
        assert asked(lambda request, reply=reply: reply)[0] is None


def test_a_server_that_knows_no_schemas_serves():
    assert asked({"keep": [0]}, formats=())[0] == [0]


def test_no_facts_ask_nobody():
    with ChatServer() as server:
        assert Recognition(Chat(server.url, "small"))("?", []) == []
    assert server.requests == []


def test_a_server_that_refuses_the_key_ends_it():
    with pytest.raises(ChatServerError, match="answers 401"):
        asked({"keep": []}, key="secret")
