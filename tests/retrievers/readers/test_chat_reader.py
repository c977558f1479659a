"""Answers that a model writes from passages, and which reader a model has."""

from __future__ import annotations

import task_models
from chat_server import ChatServer, Reply
from language_models import saved

from mnemodex.indexers.models.chat import Chat
from mnemodex.retrievers.readers.chat_reader import ChatReader
from mnemodex.retrievers.readers.local_chat import LocalChat
from mnemodex.retrievers.readers.passage_reader import open_reader
from mnemodex.retrievers.readers.span_reader import SpanReader
from mnemodex.schemas.errors import NoAnswerError, TooLongError

QUESTIONS = ["Who climbs?", "Where is moss?", "What is said of nothing?"]
PASSAGES = [[("Keepers", "The keeper climbs."), ("", "Bees winter in hives.")], [("", "Moss is on walls.")], []]


def read(server, questions=QUESTIONS, passages=PASSAGES):
    reader = ChatReader(Chat(server.url, "small", max_retries=0, timeout=5.0))
    return reader, reader.read(questions, passages)


def asked(request):
    return request["messages"][-1]["content"]


def test_a_server_answers_from_all_passages_and_is_not_asked_without():
    with ChatServer(lambda request: "The keeper.\nIndeed." if "Who" in asked(request) else "unknown") as server:
        _, answers = read(server)
        assert answers == ["The keeper", None, None] and len(server.requests) == 2
        first = next(asked(request) for request in server.requests if "Who" in asked(request))
    assert first == "Keepers\nThe keeper climbs.\n\nBees winter in hives.\n\nQuestion: Who climbs?\nAnswer:"


def test_passages_are_left_out_from_the_end_and_counted():
    def short(request):
        if "Bees" in asked(request):
            return Reply(status=400, message="This model's maximum context length is 9 tokens")
        return "walls"

    with ChatServer(short) as server:
        reader, answers = read(server)
    assert answers == ["walls", "walls", None] and reader.dropped == 1


def test_a_failure_is_no_judgement():
    with ChatServer(lambda request: Reply(status=500) if "moss" in asked(request) else "x") as server:
        _, (first, second, _) = read(server)
    assert first == "x" and isinstance(second, NoAnswerError) and not isinstance(second, TooLongError)


def test_a_model_of_this_machine_reads_what_fits(tmp_path):
    reader = ChatReader(LocalChat(saved("gpt2", tmp_path), max_tokens=4))
    (first,) = reader.read(QUESTIONS[:1], PASSAGES[:1])
    # The task alone is longer than the tiny model reads.
    assert isinstance(first, TooLongError) and reader.dropped == 1


def test_the_reader_is_that_of_the_models_kind(tmp_path):
    marks = task_models.saved("QuestionAnswering", tmp_path / "spans")
    assert isinstance(open_reader(marks), SpanReader)
    for kind in ("t5", "llama"):
        assert isinstance(open_reader(saved(kind, tmp_path / kind)), ChatReader)
