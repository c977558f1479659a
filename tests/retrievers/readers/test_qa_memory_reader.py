"""Answers from pairs: of the best pair, and of models that read several."""

from __future__ import annotations

import json

import pytest
from chat_server import ChatServer, Reply
from language_models import saved

from mnemodex.indexers.models.chat import Chat
from mnemodex.retrievers.readers.answers import evaluate
from mnemodex.retrievers.readers.local_chat import LocalChat
from mnemodex.retrievers.readers.qa_memory_reader import QAMemoryReader, RePAQReader
from mnemodex.schemas.errors import ChatServerError, QueryError

pytestmark = pytest.mark.usefixtures("one_thread")

QUESTIONS = ["Who winds the clockwork of the lamp?", "What is baked twice?"]


@pytest.fixture
def pairs(memory):
    return memory.retriever("asked")


def chat(server):
    return Chat(server.url, "small", max_retries=0, timeout=5.0)


def asked(request):
    return request["messages"][-1]["content"]


def lines(pairs):
    return [" ".join(f"{pair.question} {', '.join(pair.answers)}".split()) for pair in pairs]


def test_the_best_pair_answers_alone(pairs):
    answered = RePAQReader(pairs).answer([*QUESTIONS, "?"])
    assert [one.answer for one in answered] == pairs.predict([*QUESTIONS, "?"])
    assert [len(one.pairs) for one in answered] == [1, 1, 0] and answered[0].answer in answered[0].pairs[0].answers
    assert json.dumps(answered[0].to_json())


def test_a_server_reads_the_question_and_its_pairs(pairs):
    with ChatServer(lambda request: f"Answer: {asked(request).splitlines()[0]}.") as server:
        answered = QAMemoryReader(pairs, chat(server), k=3).answer(QUESTIONS)
    found = pairs.search(QUESTIONS, 3).pairs()
    assert [one.answer for one in answered] == [f"question: {question}" for question in QUESTIONS]
    assert [list(one.pairs) for one in answered] == found
    texts = {asked(request) for request in server.requests}
    assert texts == {"\n".join([f"question: {q}", *lines(some)]) for q, some in zip(QUESTIONS, found, strict=True)}
    assert all(one.dropped == 0 and one.prompt_tokens and one.error is None for one in answered)
    assert evaluate(answered, [[f"question: {QUESTIONS[0]}"], ["x"]]).exact_match == 0.5


def test_a_question_without_pairs_is_not_asked(pairs):
    with ChatServer(lambda request: "x") as server:
        reader = QAMemoryReader(pairs, chat(server), k=2)
        assert reader.answer([]) == []
        assert [one.answer for one in reader.answer(["?", *QUESTIONS], where="d.key = 'nothing'")] == [None] * 3
        assert server.requests == []
        with pytest.raises(QueryError, match="k is 0"):
            QAMemoryReader(pairs, chat(server), k=0).answer(QUESTIONS)


def test_a_server_that_fails_at_a_question_is_told_in_its_entry(pairs):
    with ChatServer(lambda request: Reply(status=500) if "baked" in asked(request) else "x") as server:
        first, second = QAMemoryReader(pairs, chat(server), k=1).answer(QUESTIONS)
    assert (first.answer, second.answer) == ("x", None) and "answers 500" in second.error
    with ChatServer(lambda request: Reply(status=401)) as server, pytest.raises(ChatServerError, match="401"):
        QAMemoryReader(pairs, chat(server)).answer(QUESTIONS)


def test_pairs_are_dropped_until_the_server_reads_the_rest(pairs):
    def narrow(request):
        if len(asked(request).splitlines()) > 3:
            return Reply(status=400, message="the request exceeds the available context size")
        return "x"

    with ChatServer(narrow) as server:
        (one,) = QAMemoryReader(pairs, chat(server), k=8).answer(QUESTIONS[:1])
    assert (one.answer, len(one.pairs), one.dropped) == ("x", 2, 6)


@pytest.mark.parametrize("kind", ["t5", "bart", "gpt2", "llama"])
def test_models_of_this_machine_answer_in_batches(pairs, tmp_path, kind):
    model = LocalChat(saved(kind, tmp_path), max_tokens=6)
    model._lm.model.double()
    reader = QAMemoryReader(pairs, model, k=5, instruct=False)
    answered = reader.answer(QUESTIONS)
    assert [one.answer for one in answered] == [reader.answer([question])[0].answer for question in QUESTIONS]
    assert all((one.answer is None) == (one.error is not None) for one in answered)
    # Tiny ones but T5 read 128 tokens.
    assert all(one.pairs and (one.dropped > 0) == (kind != "t5") for one in answered)
    for one in answered:
        text = "\n".join([f"question: {one.question}", *lines(one.pairs)])
        assert one.prompt_tokens == len(model._lm.tokenizer.encode(text).ids)


def test_a_model_that_cannot_read_one_pair_is_an_error_and_no_crash(pairs, tmp_path):
    model = LocalChat(saved("gpt2", tmp_path), max_tokens=120)
    (one,) = QAMemoryReader(pairs, model, k=4).answer(QUESTIONS[:1])
    assert one.answer is None and "take a model that reads more" in one.error and (one.pairs, one.dropped) == ((), 3)
