"""Questions that a model behind a server asks about answers: kept, counted, and asked for once."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from chat_server import ChatServer, Reply

from mnemodex.pipelines.qa.generators.base import Passage, Span
from mnemodex.pipelines.qa.generators.llm import PROBE, LlmGenerator
from mnemodex.schemas.errors import ChatServerError
from mnemodex.schemas.pair_sections import LlmPairs
from mnemodex.schemas.store.store import Store

MARR = Passage("Ottoline Marr", "Marr was born in Dunmarrow in 1889 and lived in Dunmarrow.")
QUAY = Passage("", "Kestrel Quay was finished in 1902.")


def spans(passage, *answers):
    return [Span(passage.text.index(answer), passage.text.index(answer) + len(answer), "x") for answer in answers]


def asked_for(request):
    return json.loads(request["messages"][-1]["content"].rpartition("Answers: ")[2])


def well(request):
    """A model that does what it is told."""
    return {"questions": [{"answer": answer, "question": f"What is {answer[::-1]}?"} for answer in asked_for(request)]}


@pytest.fixture
def work(tmp_path):
    return SimpleNamespace(cpus=1, store=Store(tmp_path / "memory"))


def generator(server, work, **settings):
    spec = {"generator": "llm", "model": "small", "base_url": server.url, "max_retries": 0, "timeout": 5.0, **settings}
    return LlmGenerator(LlmPairs(**spec), work)


def pairs(generated):
    return [(candidate.question, candidate.answer.start) for candidate in generated.candidates]


def test_all_answers_of_a_chunk_are_asked_about_at_once(work):
    with ChatServer(well) as server:
        made = generator(server, work)
        marr, quay, none = made.generate(
            [MARR, QUAY, QUAY], [spans(MARR, "Dunmarrow", "1889"), spans(QUAY, "1902"), []]
        )
        assert pairs(marr) == [("What is worramnuD?", 17), ("What is 9881?", 30)]
        assert pairs(quay) == [("What is 2091?", 29)] and none.candidates == none.problems == []
        assert len(server.requests) == 2 and server.requests[0]["response_format"]["type"] == "json_schema"
        assert any(MARR.title in request["messages"][-1]["content"] for request in server.requests)
    counts = made.counts()
    assert (counts["answers"], counts["asked"], counts["unasked"]) == (2, 2, 0) and counts["prompt_tokens"] > 100


def test_no_answer_is_paid_for_twice_and_a_server_that_fails_midway_is_asked_for_the_rest(work):
    def fails(request):
        return Reply(status=401) if "1902" in asked_for(request) else well(request)

    chunks = [MARR, QUAY], [spans(MARR, "1889"), spans(QUAY, "1902")]
    with ChatServer(fails) as server, pytest.raises(ChatServerError, match="401"):
        generator(server, work, concurrency=1).generate(*chunks)
    with ChatServer(well) as server:
        made = generator(server, work)
        assert [len(one.candidates) for one in made.generate(*chunks)] == [1, 1]
        assert list(map(asked_for, server.requests)) == [["1902"]]
        assert (made.counts()["answers"], made.counts()["asked"]) == (2, 1)


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (Reply("I would rather not."), "prose"),
        (Reply('{"questions": [{"answer": "1889"', finish="length"), "raise max_tokens"),
        (Reply('{"questions": ["Why?"]}'), "no pairs of an answer and a question"),
        (Reply('{"questions": []}'), "asks about none of 1 answers"),
        (Reply('{"questions": [{"answer": "Rome", "question": "Where?"}]}'), "asks about none of 1 answers"),
        (Reply(status=400, message="content filter"), "content filter"),
        (Reply(""), "prose"),
    ],
)
def test_a_bad_reply_is_a_problem_of_its_chunk_alone(work, reply, problem):
    with ChatServer(lambda request: reply if "1889" in asked_for(request) else well(request)) as server:
        bad, good = generator(server, work).generate([MARR, QUAY], [spans(MARR, "1889"), spans(QUAY, "1902")])
    assert bad.candidates == [] and problem in bad.problems[0]
    assert len(good.candidates) == 1 and good.problems == []


def test_answers_are_known_in_another_case_and_others_are_counted(work):
    reply = [
        {"Answer": "dunmarrow", "Question": "Where\nwas she born? "},
        {"answer": 1889, "question": "When?"},
        {"answer": "Rome", "question": "Where?"},
    ]
    with ChatServer(lambda request: reply) as server:
        made = generator(server, work)
        (marr,) = made.generate([MARR], [spans(MARR, "Dunmarrow", "1889", "lived")])
    assert pairs(marr) == [("Where was she born?", 17), ("When?", 30)]
    assert made.counts()["unknown_answers"] == 1 and made.counts()["unasked"] == 1


def test_a_server_is_asked_one_question_before_a_build(work):
    with ChatServer(lambda request: {"questions": []}) as server:
        settings = LlmPairs(generator="llm", model="small", base_url=server.url, max_retries=0)
        assert LlmGenerator.probe(settings, work) == []
        assert server.requests[0]["messages"][-1]["content"] == PROBE
    with ChatServer(lambda request: Reply(status=500)) as server, pytest.raises(ChatServerError, match="qa_pairs: "):
        LlmGenerator.probe(settings.model_copy(update={"base_url": server.url, "model": "other"}), work)
