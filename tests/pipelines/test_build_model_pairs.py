"""Pairs that models make, in a build: classifier, finders of answers, generators and server together."""

from __future__ import annotations

import json

import pytest
import task_models
from builds import computed
from chat_server import ChatServer, Reply
from language_models import saved
from library import write_parts
from passed_objects import Hashed

import mnemodex
from mnemodex.pipelines.qa.generators.llm import PROBE
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import ChatServerError, ModelError, SourceError

pytestmark = pytest.mark.usefixtures("inline", "one_thread")

NOTES = [
    {"id": "marr", "title": "Ottoline Marr", "text": "Ottoline Marr was born in Dunmarrow in 1889."},
    {"id": "radio", "title": "Radio Vienna", "text": "Radio Vienna was founded by Oskar Czeija in Austria."},
    {"id": "quay", "title": "", "text": "A street in London was finished in 1902."},
]


@pytest.fixture
def recipe(tmp_path):
    source = {"path": str(write_parts(tmp_path / "notes", NOTES, 2))}
    return {"source": source, "memory": str(tmp_path / "memory"), "embed": {"e": {}}, "indexes": {"qa": {"type": "qa"}}}


def build(recipe, **section):
    return mnemodex.build({**recipe, "qa_pairs": section}, encoders={"e": Hashed(24)})


def opened(recipe):
    return mnemodex.open(recipe["memory"], encoders={"e": Hashed(24)})


def asked_for(request):
    return json.loads(request["messages"][-1]["content"].rpartition("Answers: ")[2])


def well(request):
    if request["messages"][-1]["content"] == PROBE:
        return {"questions": []}
    return {"questions": [{"answer": answer, "question": f"What is {answer[::-1]}?"} for answer in asked_for(request)]}


def llm(server, **settings):
    return {"generator": "llm", "model": "small", "base_url": server.url, "max_retries": 0, **settings}


def test_a_server_asks_about_what_spacy_finds(recipe):
    with ChatServer(well) as server:
        result = build(recipe, **llm(server))
        memory = opened(recipe)
        query = "SELECT d.key, unnest(answers) FROM qa_pairs JOIN documents d USING (doc_id)"
        found = set(memory.sql(query).fetchall())
        assert {("marr", "Dunmarrow"), ("marr", "1889"), ("radio", "Oskar Czeija"), ("quay", "London")} <= found
        assert memory.retriever("qa").search(["what is 9881"], 1).answers() == [[("1889",)]]
        assert len(server.requests) == 1 + len(NOTES) and verify(recipe["memory"]).problems == []
        assert computed(build(recipe, **llm(server, concurrency=2))) == {} and len(server.requests) == 1 + len(NOTES)
    assert {"qa_pairs: answers", "qa_pairs: questions"} <= {step.name for step in result.steps}


def test_a_server_that_fails_midway_is_asked_for_the_rest_alone(recipe):
    def fails(request):
        bad = request["messages"][-1]["content"] != PROBE and "London" in asked_for(request)
        return Reply(status=401) if bad else well(request)

    with ChatServer(fails) as server, pytest.raises(ChatServerError, match="401"):
        build(recipe, **llm(server, concurrency=1))
    with ChatServer(well) as server:
        build(recipe, **llm(server))
        assert [asked_for(request)[:1] for request in server.requests] == [["London"]]


def test_too_many_chunks_without_a_usable_answer_fail_the_build(recipe):
    expected = pytest.raises(SourceError, match=r"more than `qa_pairs.max_errors: 1`.*prose")
    with ChatServer(lambda request: "I would rather not.") as server, expected:
        build(recipe, **llm(server, max_errors=1))


def test_models_choose_passages_mark_answers_and_ask(recipe, tmp_path):
    section = {
        "generator": "model",
        "model": saved("t5", tmp_path / "t5"),
        "beams": 2,
        "max_tokens": 6,
        "max_errors": "100%",
        "passages": {"model": task_models.saved("SequenceClassification", tmp_path / "classes"), "min_score": -50},
        "answers": {
            "by": "model",
            "model": task_models.saved("QuestionAnswering", tmp_path / "spans"),
            "max_answers": 3,
            "max_tokens": 4,
        },
    }
    build(recipe, **section)
    query = "SELECT question, answer, start, kind, passage_score, answer_score, question_score FROM qa_candidates"
    rows = opened(recipe).sql(query).fetchall()
    texts = [note["text"] for note in NOTES]
    for _, answer, start, kind, *scores in rows:
        assert any(text[start : start + len(answer)] == answer for text in texts) and kind == "span"
        assert all(score <= 0 for score in scores)
    assert rows and computed(build(recipe, **section)) == {}
    with pytest.raises(SourceError, match="none of 0 candidates is a pair"):
        build(recipe, **{**section, "passages": {**section["passages"], "min_score": -1e-9}})


def test_a_classifier_of_three_classes_is_refused(recipe, tmp_path):
    name = task_models.saved("SequenceClassification", tmp_path / "classes", num_labels=3)
    with ChatServer(well) as server, pytest.raises(ModelError, match="has 3 classes"):
        build(recipe, **llm(server, passages={"model": name}))
