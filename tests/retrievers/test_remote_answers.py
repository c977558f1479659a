"""Answers of a server's readers: those of readers of an opened memory, whole or as they come."""

from __future__ import annotations

import asyncio

import pytest
from chat_server import ChatServer, Reply
from http_server import serving

import mnemodex
from mnemodex.deploy.settings import ServerSettings
from mnemodex.indexers.models.chat import Chat
from mnemodex.retrievers.readers.hippo_reader import HippoReader
from mnemodex.retrievers.readers.qa_memory_reader import RePAQReader
from mnemodex.schemas.errors import ChatServerError, QueryError, ServerError

QUESTIONS = ["Who winds the lamp of the lighthouse?", "What is stored in straw?"]


def written(request):
    """What the model writes: the last word of the question."""
    question = request["messages"][-1]["content"].rpartition("Question: ")[2]
    return Reply(f"It is asked. Answer: {question.split('?')[0].split()[-1]}", streams=0.01)


@pytest.fixture(scope="module")
def chat():
    with ChatServer(written) as server:
        yield server


@pytest.fixture(scope="module")
def url(library, chat):
    with serving(ServerSettings(memories={"library": library}, readers={"wise": f"{chat.url}#model"})) as url:
        yield url


@pytest.fixture(params=["connected", "awaited"])
def ask(request, url):
    """Asks for answers, whole or streamed, by a method's name."""

    async def in_loop(method, arguments, options):
        async with await mnemodex.aconnect(url) as memory:
            found = getattr(memory, method)(*arguments, **options)
            return [part async for part in found] if method == "stream_answers" else await found

    def run(method, *arguments, **options):
        if request.param == "awaited":
            return asyncio.run(in_loop(method, arguments, options))
        with mnemodex.connect(url) as memory:
            return list(getattr(memory, method)(*arguments, **options))

    return run


def test_answers_are_those_of_readers_of_the_opened_memory(ask, memory, chat):
    expected = HippoReader(memory.retriever("words"), Chat(chat.url, "model")).answer(QUESTIONS, 3)
    assert ask("answers", "words", QUESTIONS, k=3) == expected
    pairs = RePAQReader(memory.retriever("asked")).answer(QUESTIONS)
    assert ask("answers", "asked", QUESTIONS) == pairs
    assert ask("answers", "words", []) == []


def test_more_questions_than_a_request_takes_are_answered(ask):
    answers = ask("answers", "asked", [f"question {number}" for number in range(130)])
    assert [entry.question for entry in answers] == [f"question {number}" for number in range(130)]


def test_answers_come_as_they_are_written(ask):
    whole = ask("answers", "words", QUESTIONS, where="d.key LIKE 'l%'")
    parts = ask("stream_answers", "words", QUESTIONS, where="d.key LIKE 'l%'")
    for number, entry in enumerate(whole):
        *texts, last = [part for part in parts if part.number == number]
        assert len(texts) > 3 and all(part.text and part.answered is None for part in texts)
        assert "".join(part.text for part in texts).endswith(f"Answer: {entry.answer}")
        assert (last.answered.answer, last.answered.hits) == (entry.answer, entry.hits)


@pytest.mark.parametrize("method", ["answers", "stream_answers"])
def test_what_cannot_be_answered_is_refused(ask, method):
    with pytest.raises(QueryError, match="none is called 'other'"):
        ask(method, "words", QUESTIONS, reader="other")


def test_a_question_that_fails_has_an_error(library):
    with ChatServer() as gone:
        readers = {"wise": f"{gone.url}#model"}
    with (
        serving(ServerSettings(memories={"library": library}, readers=readers)) as url,
        mnemodex.connect(url) as memory,
    ):
        (part,) = memory.stream_answers("words", QUESTIONS[:1])
        assert part.answered.answer is None and "reader 'wise'" in part.answered.error
        with pytest.raises(ChatServerError, match="reader 'wise'"):
            memory.answers("words", QUESTIONS[:1])


def test_a_stream_that_ends_too_early_says_which_questions_are_left(url, monkeypatch):
    from mnemodex.deploy import streams

    whole = streams._events

    async def cut(*arguments):
        async for event in whole(*arguments):
            yield event
            if event.startswith(b"event: answer"):
                return

    monkeypatch.setattr(streams, "_events", cut)
    with mnemodex.connect(url) as memory, pytest.raises(ServerError, match=r"answers to the questions \d\. Ask these"):
        list(memory.stream_answers("asked", QUESTIONS))
