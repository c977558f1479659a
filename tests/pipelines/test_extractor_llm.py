"""Triples of a language model, asked over HTTP: good answers, bad ones, none; and that none is asked for twice."""

from __future__ import annotations

import importlib.util
import json
import re
from collections import Counter

import chat_server
import pytest
from builds import computed, manifest
from chat_server import Reply
from library import write_jsonl, write_parts

import mnemodex
from mnemodex.pipelines.extractors import extract
from mnemodex.pipelines.extractors.extract import TripleStats
from mnemodex.pipelines.extractors.llm import PROBE
from mnemodex.pipelines.ops import checkpoint
from mnemodex.pipelines.verify import verify
from mnemodex.schemas import limits
from mnemodex.schemas.errors import ChatServerError, SourceError

pytestmark = pytest.mark.usefixtures("inline")


class ChatServer(chat_server.ChatServer):
    """Does not count the question that it is asked before a build, and answers it well."""

    def reply(self, path, key, request):
        if request["messages"][-1]["content"] == PROBE:
            return Reply('{"entities": []}')
        return super().reply(path, key, request)


CITIES = ("London", "Paris", "Rome", "Vienna", "Oslo", "Lima")
NOTES = [{"id": city, "title": f"Bridge {n}", "text": f"It stands in {city}."} for n, city in enumerate(CITIES)]


def passage(request):
    return request["messages"][-1]["content"]


def city_of(request):
    return next(city for city in CITIES if city in passage(request))


def is_names(request):
    return "Names:" not in passage(request)


def well(request):
    """A model that does what it is told."""
    title = passage(request).split("\n")[0]
    if is_names(request):
        return {"entities": [title, city_of(request)]}
    return {"triples": [{"subject": title, "predicate": "stands in", "object": city_of(request)}]}


@pytest.fixture
def recipe(tmp_path):
    source = write_parts(tmp_path / "notes", NOTES, 2)
    return {"source": {"path": str(source)}, "memory": str(tmp_path / "memory"), "indexes": {}}


def build(recipe, server, **settings):
    llm = {"extractor": "llm", "model": "small", "base_url": server.url, "max_retries": 1, "timeout": 5.0, **settings}
    return mnemodex.build({**recipe, "triples": llm})


def facts(recipe):
    query = "SELECT subject, predicate, object FROM triples ORDER BY ALL"
    return mnemodex.open(recipe["memory"]).sql(query).fetchall()


def errors(recipe):
    query = "SELECT source, line, reason, content FROM errors WHERE stage = 'triples' ORDER BY ALL"
    return mnemodex.open(recipe["memory"]).sql(query).fetchall()


ALL = sorted((f"Bridge {n}", "stands in", city) for n, city in enumerate(CITIES))


def test_names_are_asked_for_and_then_triples_of_them(recipe):
    with ChatServer(well) as server:
        result = build(recipe, server, prompt_price=2, completion_price=8)
        assert facts(recipe) == ALL and result.warnings == []
        assert len(server.requests) == 2 * len(CITIES)
        first = next(request for request in server.requests if not is_names(request))
        assert "Names: [" in passage(first) and first["response_format"]["type"] == "json_schema"
        spent = Counter()
        for part in manifest(recipe["memory"]).tables["triples"].partitions:
            spent.update(part.stats.of(TripleStats).counts)
        assert (spent["answers"], spent["asked"]) == (12, 12) and spent["prompt_tokens"] > spent[
            "completion_tokens"
        ] > 0
        (step,) = (step for step in result.steps if step.name == "triples")
        cost = (2 * spent["prompt_tokens"] + 8 * spent["completion_tokens"]) / 1e6
        assert step.note == (
            f"6 documents, {spent['prompt_tokens']} tokens read and {spent['completion_tokens']} written, "
            f"cost {cost:.4f}"
        )
        assert verify(recipe["memory"]).problems == []


def test_questions_are_asked_at_once_but_not_more_than_allowed(recipe):
    with ChatServer(lambda request: Reply(json.dumps(well(request)), delay=0.03)) as server:
        build(recipe, server, concurrency=2)
        assert server.most == 2


def test_an_unchanged_build_asks_nothing_and_neither_does_another_server_or_partitioning(recipe, tmp_path):
    with ChatServer(well) as server:
        build(recipe, server)
    with ChatServer(lambda request: pytest.fail("asked")) as other:
        assert computed(build(recipe, other, concurrency=3, prompt_price=1)) == {}
        for part in (tmp_path / "notes").iterdir():
            part.unlink()
        write_jsonl(tmp_path / "notes" / "all.jsonl", NOTES)
        assert computed(build(recipe, other))["triples"] == 1
        assert facts(recipe) == ALL and other.requests == []


def test_what_decides_an_answer_is_asked_anew(recipe):
    with ChatServer(well) as server:
        build(recipe, server)
        for number, other in enumerate(({"model": "large"}, {"temperature": 0.5}, {"max_tokens": 99}), 2):
            build(recipe, server, **other)
            assert len(server.requests) == 12 * number


def test_a_build_that_was_cut_off_keeps_its_answers(recipe):
    with ChatServer(lambda request: well(request) if city_of(request) != "Rome" else Reply(status=401)) as server:
        with pytest.raises(ChatServerError, match="401"):
            build(recipe, server, concurrency=1)
        assert len(server.requests) == 5
    with ChatServer(well) as server:
        build(recipe, server)
        assert {city_of(request) for request in server.requests} == {"Rome", "Vienna", "Oslo", "Lima"}
        assert facts(recipe) == ALL


def test_a_build_that_was_cut_off_counts_the_tokens_of_what_it_kept(recipe, monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoint, "SECONDS", -1)
    monkeypatch.setattr(extract, "_BATCH", 1)
    with ChatServer(well) as server:
        whole = build({**recipe, "memory": str(tmp_path / "whole")}, server, prompt_price=2)
    refused = ChatServer(lambda request: well(request) if city_of(request) != "Rome" else Reply(status=401))
    with refused as server, pytest.raises(ChatServerError, match="401"):
        build(recipe, server, concurrency=1)
    with ChatServer(well) as server:
        resumed = build(recipe, server, prompt_price=2)
    notes = [{step.name: step.note for step in result.steps}["triples"] for result in (whole, resumed)]
    assert notes[0] == notes[1] and "tokens read" in notes[0] and "cost" in notes[0]
    assert facts(recipe) == ALL


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply("Here is what I know about it."), "prose"),
        (Reply('{"triples": [{"subject": '), "no end"),
        (Reply('{"triples": [{"subject": "a", "predicate": "b", "object": "c"}, {"subj'), "no end"),
        (Reply('{"triples": [}]}'), "is not JSON"),
        (Reply('{"error": "too long"}'), "no list 'triples'"),
        (Reply("<think>I could", finish="length"), "prose.*raise max_tokens"),
        (Reply('{"triples": "none"}'), "no list 'triples'"),
        (Reply('{"triples": ["a"', finish="length"), "raise max_tokens"),
        (Reply(status=500), "answers 500"),
        (Reply(status=400, message="content filter"), "content filter"),
        (Reply(body='{"choices": ['), "not of the chat protocol"),
        (Reply("late", delay=1.5), "no answer within 0.5 s"),
    ],
)
def test_a_bad_answer_is_an_error_of_its_document_and_not_the_end(recipe, reply, reason):
    def answer(request):
        return reply if city_of(request) == "Rome" and not is_names(request) else well(request)

    with ChatServer(answer) as server:
        result = build(recipe, server, timeout=0.5, max_retries=0)
    assert facts(recipe) == [fact for fact in ALL if fact[2] != "Rome"]
    ((source, line, said, _),) = errors(recipe)
    assert (source, line) == ("part-0.jsonl", 3) and re.search(reason, said)
    assert "triples: 1 failures: part-0.jsonl line 3" in result.warnings[0]
    assert verify(recipe["memory"]).problems == []


def test_more_bad_answers_than_allowed_fail_the_build(recipe):
    with ChatServer(lambda request: "I would rather not.") as server:
        with pytest.raises(SourceError, match=r"more than `triples.max_errors: 2`.*prose"):
            build(recipe, server, max_errors=2)
        assert build(recipe, server, max_errors=6).warnings[0].startswith("triples: 6 failures")


@pytest.mark.parametrize(("bad", "fails"), [(CITIES, True), (CITIES[:2], True), (CITIES[:1], False)])
def test_a_graph_of_holes_is_refused_without_a_word_in_the_recipe(recipe, bad, fails):
    with ChatServer(lambda request: "I refuse." if city_of(request) in bad else well(request)) as server:
        if fails:
            with pytest.raises(SourceError, match=r"at 6 chunks, more than `triples.max_errors: 20%`.*prose"):
                build(recipe, server)
        else:
            build(recipe, server)
        assert build(recipe, server, max_errors="100%").warnings[0].startswith(f"triples: {len(bad)} failures")
        with pytest.raises(SourceError, match=r"more than `triples.max_errors: 0%`"):
            build(recipe, server, max_errors="0%")


def test_a_percentage_is_judged_early_where_enough_is_tried(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "_SAMPLE", 3)
    with ChatServer(lambda request: "I refuse.") as server, pytest.raises(SourceError, match="3 failures at 3 chunks"):
        build(recipe, server)
    assert len(server.requests) < len(CITIES)


def test_bad_triples_in_good_answers_are_judged_like_any(recipe):
    bad = [["a", "b"], {"subject": "x"}, "prose", ["Rome", "is", "rome"], ["", "is", "Rome"], None]
    good = {"subject": "Rome", "predicate": "is in", "object": "Italy"}

    def answer(request):
        if is_names(request):
            return {"entities": ["Rome", 3, None, "Rome", " "]}
        return "```json\n" + json.dumps({"triples": [*bad, good, ["A", "of", "B"]]}) + "\n```"

    with ChatServer(answer) as server:
        result = build(recipe, server)
        assert {passage(request).rpartition("Names: ")[2] for request in server.requests if not is_names(request)} == {
            '["Rome"]'
        }
    assert set(facts(recipe)) == {("Rome", "is in", "Italy"), ("A", "of", "B")}
    assert result.warnings[0].startswith("triples: 36 of 48 left out") and len(errors(recipe)) == 36


ROME = ("Rome", "is in", "Italy")


@pytest.mark.parametrize(
    "triples",
    [
        {"triples": [{"head": "Rome", "relation": "is in", "tail": "Italy"}]},
        {"facts": [{"Subject": {"name": "Rome", "type": "city"}, "Relationship": "is in", "Object": "Italy"}]},
        [{"subject": "Rome", "predicate": "is in", "object": "Italy"}],
        [["Rome", "is in", "Italy"]],
        ["Rome", "is in", "Italy"],
        {"subject": "Rome", "predicate": "is in", "object": "Italy"},
        "<think>{'triples': []}</think>[('Rome', 'is in', 'Italy'),]",
    ],
)
def test_triples_are_understood_in_other_forms(recipe, triples):
    names = '<think>as {"entities": []}</think>{"named_entities": [{"entity": "Rome", "type": "city"}]}'
    with ChatServer(lambda request: names if is_names(request) else triples) as server:
        assert build(recipe, server).warnings == []
        assert all(passage(request).endswith('Names: ["Rome"]') for request in server.requests if not is_names(request))
    assert set(facts(recipe)) == {ROME}


def test_names_of_another_form_are_no_empty_answer(recipe):
    names, triples = {"entities": [["Rome", "city"]]}, {"triples": []}
    with (
        ChatServer(lambda request: names if is_names(request) else triples) as server,
        pytest.raises(SourceError, match="the entities of the model's answer are no names"),
    ):
        build(recipe, server)


def test_a_number_is_a_name_and_nothing_is_none(recipe):
    objects = [{"subject": "Rome", "predicate": "founded in", "object": value} for value in (-753, None)]
    with ChatServer(lambda request: {"entities": []} if is_names(request) else {"triples": objects}) as server:
        build(recipe, server)
    assert set(facts(recipe)) == {("Rome", "founded in", "-753")}
    assert {reason for _, _, reason, _ in errors(recipe)} == {"a triple is three strings"}


def test_half_characters_do_no_harm(recipe):
    with ChatServer(lambda request: Reply('{"entities": [], "triples": [["a \ud800", "b", "c"]]}')) as server:
        build(recipe, server)
    assert set(facts(recipe)) == {("a ?", "b", "c")}


def test_no_code_is_run(recipe, tmp_path):
    text = f"__import__('pathlib').Path({str(tmp_path / 'pwned')!r}).touch()"
    with ChatServer(lambda request: text) as server:
        build(recipe, server, max_errors="100%")
    assert not (tmp_path / "pwned").exists() and len(errors(recipe)) == 6


def test_retry_asks_again_where_there_was_no_usable_answer(recipe):
    with ChatServer(lambda request: "no" if city_of(request) == "Rome" else well(request)) as server:
        build(recipe, server)
    with ChatServer(well) as server:
        assert computed(build(recipe, server)) == {}
        build(recipe, server, retry=1)
        assert {city_of(request) for request in server.requests} == {"Rome"}
        assert facts(recipe) == ALL
        asked = len(server.requests)
        build(recipe, server, retry=2)
        assert len(server.requests) == asked


def test_damaged_answers_are_found_and_asked_for_again(recipe, tmp_path):
    with ChatServer(well) as server:
        build(recipe, server)
        damaged = sorted((tmp_path / "memory" / "answers").rglob("*.json"))[0]
        damaged.write_text(damaged.read_text().replace("Bridge", "Bride"))
        assert [str(damaged) in problem for problem in verify(recipe["memory"]).problems] == [True]
        asked = len(server.requests)
        build({**recipe, "id_salt": "x"}, server)
        assert len(server.requests) == asked + 1 and verify(recipe["memory"]).problems == []


def asked_before(recipe, tmp_path, answer, **settings):
    """What a server with this answer is asked, and the warnings of the build or its error."""
    with chat_server.ChatServer(answer) as server:
        try:
            said = build(recipe, server, **{"max_retries": 0, **settings}).warnings
        except ChatServerError as error:
            said = error
            assert not list((tmp_path / "memory").rglob("documents*"))
    return server.requests, said


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=400, message="no such thing"),
        Reply(status=404, message="no such thing"),
        Reply(status=500, message="no such thing"),
        Reply(body='{"error": "no such thing"}'),
        Reply(body="<html>no such thing</html>"),
    ],
)
def test_a_server_that_does_not_answer_is_told_before_anything_is_computed(recipe, tmp_path, reply):
    requests, said = asked_before(recipe, tmp_path, lambda request: reply)
    assert isinstance(said, ChatServerError) and "no such thing" in str(said)
    assert {passage(request) for request in requests} == {PROBE}


def test_a_server_that_is_too_slow_is_told_before_anything_is_computed(recipe, tmp_path):
    _, said = asked_before(recipe, tmp_path, lambda request: Reply("{}", drip=0.05), timeout=0.3)
    assert "no answer within 0.3 s" in str(said)


def test_all_parameters_are_asked_with_and_what_is_refused_is_warned_of(recipe, tmp_path):
    def answer(request):
        if "temperature" in request:
            return Reply(status=400, message="Unsupported value: 'temperature'")
        return {"entities": []} if passage(request) == PROBE else well(request)

    requests, said = asked_before(recipe, tmp_path, answer, max_tokens=99)
    assert passage(requests[0]) == PROBE and (requests[0]["temperature"], requests[0]["max_tokens"]) == (0.0, 99)
    assert said[0].startswith("triples: http") and "refuses temperature; it is asked without" in said[0]
    assert facts(recipe) == ALL


def test_a_server_is_not_asked_where_nothing_is_to_be_asked(recipe):
    with ChatServer(well) as server:
        build(recipe, server)
    with chat_server.ChatServer(lambda request: pytest.fail("asked")) as other:
        build({**recipe, "indexes": {"words": {"type": "bm25"}}}, other)
        assert other.requests == []


def test_a_missing_client_is_said_before_any_work(recipe, monkeypatch, tmp_path):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "openai" else find(name, *rest))
    with ChatServer(well) as server, pytest.raises(ImportError, match=r"mnemodex\[llm\]"):
        build(recipe, server)
    assert not (tmp_path / "memory").exists()
