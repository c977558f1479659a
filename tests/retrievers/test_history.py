"""Facts of an entity by time, and which took the place of which."""

from __future__ import annotations

from datetime import datetime

import pytest
from library import write_jsonl

import mnemodex
from mnemodex.retrievers.history import history
from mnemodex.schemas.errors import QueryError

STATED = {
    "a": (
        "2024-01-01T00:00:00Z",
        [("Ann", "lives in", "Oslo"), ("Ann", "speaks", "Norse"), ("Ann", "speaks", "Danish")],
    ),
    "b": ("2024-03-01T00:00:00Z", [("Ann", "lives in", "Bern"), ("Ann", "speaks", "German")]),
    "c": ("2024-02-01T00:00:00Z", [("ann", "Lives in", "OSLO"), ("Bo", "knows", "Ann")]),
    "d": ("2024-05-01T00:00:00Z", [("Ann", "lives in", "Oslo")]),
    "e": (None, [("Ann", "born in", "Rome"), ("Ann", "lives in", "Paris")]),
    "f": ("2024-06-01T00:00:00Z", [("Bo", "knows", "Cy")]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("history")


@pytest.fixture(scope="module")
def memory(folder):
    notes = [{"id": key, "text": f"note {key}", "time": time, "n": 1} for key, (time, _) in STATED.items()]
    triples = [{"id": key, "entities": [], "triples": facts} for key, (_, facts) in STATED.items()]
    recipe = {
        "memory": str(folder / "memory"),
        "source": {
            "path": str(write_jsonl(folder / "notes.jsonl", notes)),
            "metadata": {"time": "timestamp", "n": "int"},
        },
        "triples": {"from": str(write_jsonl(folder / "triples.jsonl", triples))},
        "indexes": {"words": {"type": "bm25"}, "lite": {"type": "graph", "synonymy": None}},
    }
    mnemodex.build(recipe, local=True)
    return mnemodex.open(recipe["memory"])


def values_of(facts):
    return [(fact.subject, fact.predicate, fact.object, fact.valid_from and fact.valid_from.month) for fact in facts]


def test_a_value_holds_until_the_next_one_is_stated_and_may_come_back(memory):
    lives = [fact for fact in history(memory, "Ann", time="time") if fact.predicate == "lives in" and fact.valid_from]
    assert values_of(lives) == [
        ("ann", "lives in", "oslo", 1),
        ("ann", "lives in", "bern", 3),
        ("ann", "lives in", "oslo", 5),
    ]
    oslo, bern = lives[0].fact_id, lives[1].fact_id
    assert [fact.superseded_by for fact in lives] == [bern, oslo, None]
    assert lives[0].valid_from == datetime(2024, 1, 1)


def test_facts_without_a_time_come_first_and_supersede_nothing(memory):
    facts = history(memory, "Ann", time="time")
    assert values_of(facts)[:2] == [("ann", "born in", "rome", None), ("ann", "lives in", "paris", None)]
    assert {fact.superseded_by for fact in facts[:2]} == {None}


def test_of_what_has_several_values_at_a_time_all_hold(memory):
    speaks = [fact for fact in history(memory, "Ann", time="time") if fact.predicate == "speaks"]
    assert values_of(speaks) == [
        ("ann", "speaks", "danish", 1),
        ("ann", "speaks", "norse", 1),
        ("ann", "speaks", "german", 3),
    ]
    assert {fact.superseded_by for fact in speaks} == {None}


def test_an_entity_that_is_no_object_any_more_is_superseded_by_a_fact_without_it(memory):
    (knows,) = [fact for fact in history(memory, "ANN", time="time") if fact.predicate == "knows"]
    (other,) = history(memory, "Cy", time="time")
    assert knows.superseded_by == other.fact_id


def test_only_what_still_holds(memory):
    held = values_of(history(memory, "Ann", time="time", newest=True))
    assert ("ann", "lives in", "oslo", 5) in held and ("ann", "speaks", "norse", 1) in held
    assert not {fact[:3] for fact in held} & {("ann", "lives in", "bern"), ("bo", "knows", "ann")}


def test_of_a_name_that_is_in_no_fact_there_is_nothing(memory):
    assert history(memory, "Nobody' OR 1=1 --", time="time") == []


@pytest.mark.parametrize("time", ["n", "when", 'x" IS NULL --'])
def test_a_field_that_holds_no_times_is_refused(memory, time):
    with pytest.raises(QueryError, match=r"is no field of times; name one of these: time"):
        history(memory, "Ann", time=time)
