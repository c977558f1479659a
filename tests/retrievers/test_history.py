"""Facts of an entity by time, and which took the place of which."""

from __future__ import annotations

import json
import operator
from dataclasses import astuple
from datetime import datetime

import pytest
from library import words_recipe, write_jsonl

import mnemodex
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


def built(folder, *, metadata=None, **triples):
    notes = [{"id": key, "text": f"note {key}", "time": time, "n": 1} for key, (time, _) in STATED.items()]
    stated = [{"id": key, "entities": [], "triples": facts} for key, (_, facts) in STATED.items()]
    folder.mkdir(exist_ok=True)
    recipe = {
        "memory": str(folder / "memory"),
        "source": {
            "path": str(write_jsonl(folder / "notes.jsonl", notes)),
            "metadata": {"time": "timestamp", "n": "int"} if metadata is None else metadata,
        },
        "triples": {"from": str(write_jsonl(folder / "triples.jsonl", stated)), **triples},
        "indexes": {"words": {"type": "bm25"}, "lite": {"type": "graph", "synonymy": None}},
    }
    mnemodex.build(recipe, local=True)
    return mnemodex.open(recipe["memory"])


@pytest.fixture(scope="module")
def memory(folder):
    return built(folder)


def values_of(facts):
    return [(fact.subject, fact.predicate, fact.object, fact.valid_from and fact.valid_from.month) for fact in facts]


def test_a_value_holds_until_the_next_one_is_stated_and_may_come_back(memory):
    lives = [fact for fact in memory.history("Ann") if fact.predicate == "lives in" and fact.valid_from]
    assert values_of(lives) == [
        ("ann", "lives in", "oslo", 1),
        ("ann", "lives in", "bern", 3),
        ("ann", "lives in", "oslo", 5),
    ]
    oslo, bern = lives[0].fact_id, lives[1].fact_id
    assert [fact.superseded_by for fact in lives] == [bern, oslo, None]
    assert lives[0].valid_from == datetime(2024, 1, 1)


def test_facts_without_a_time_come_first_and_supersede_nothing(memory):
    facts = memory.history("Ann")
    assert values_of(facts)[:2] == [("ann", "born in", "rome", None), ("ann", "lives in", "paris", None)]
    assert {fact.superseded_by for fact in facts[:2]} == {None}


def test_of_what_has_several_values_at_a_time_all_hold(memory):
    speaks = [fact for fact in memory.history("Ann") if fact.predicate == "speaks"]
    assert values_of(speaks) == [
        ("ann", "speaks", "danish", 1),
        ("ann", "speaks", "norse", 1),
        ("ann", "speaks", "german", 3),
    ]
    assert {fact.superseded_by for fact in speaks} == {None}


def test_an_entity_that_is_no_object_any_more_is_superseded_by_a_fact_without_it(memory):
    (knows,) = [fact for fact in memory.history("ANN") if fact.predicate == "knows"]
    (other,) = memory.history("Cy")
    assert knows.superseded_by == other.fact_id


def test_only_what_still_holds(memory):
    held = values_of(memory.history("Ann", newest=True))
    assert ("ann", "lives in", "oslo", 5) in held and ("ann", "speaks", "norse", 1) in held
    assert not {fact[:3] for fact in held} & {("ann", "lives in", "bern"), ("bo", "knows", "ann")}


def test_of_a_name_that_is_in_no_fact_there_is_nothing(memory):
    assert memory.history("Nobody' OR 1=1 --") == []


def test_sql_has_the_history_of_all(memory):
    rows = memory.sql("SELECT * FROM history WHERE subject = 'ann' AND predicate = 'lives in' ORDER BY valid_from")
    assert rows.columns == ["fact_id", "subject", "predicate", "object", "valid_from", "superseded_by"]
    found = [fact for fact in memory.history("Ann") if fact.predicate == "lives in"]
    key = operator.attrgetter("valid_from")
    dated = sorted((fact for fact in found if fact.valid_from), key=key)
    undated = [fact for fact in found if not fact.valid_from]
    assert rows.fetchall() == [astuple(fact) for fact in [*dated, *undated]]
    (count,) = memory.sql("SELECT count(*) FROM history").fetchone()
    assert count == len(memory.sql("SELECT * FROM facts").fetchall()) + 1, "one value came back"
    assert ("history",) in memory.sql("SHOW TABLES").fetchall()


def test_a_filter_may_read_the_history(memory):
    holds = "SELECT fact_id FROM history WHERE predicate = 'lives in' AND superseded_by IS NULL"
    where = f"c.chunk_id IN (SELECT chunk_id FROM triples WHERE fact_id IN ({holds}))"
    assert {chunk.key for chunk in memory.retriever("words").search(["note"], where=where)[0]} == {"a", "c", "d", "e"}


def test_the_command_line_has_it(cli, memory):
    ran = cli("sql", memory.snapshot.store.root, "SELECT object FROM history WHERE subject = 'bo'", "--json")
    assert sorted(json.loads(ran.out)["rows"]) == [["ann"], ["cy"]]


@pytest.mark.parametrize(
    ("metadata", "triples", "message"),
    [
        ({"n": "int"}, {}, "history: documents have no field of times; declare it in the recipe"),
        ({"time": "timestamp", "day": "date"}, {}, r"several fields of times \(time, day\); name one in the recipe"),
        ({"time": "timestamp"}, {"time": "n"}, "`triples.time` of the recipe is 'n', which is no field of times"),
    ],
)
def test_what_does_not_say_when_is_refused(tmp_path, metadata, triples, message):
    memory = built(tmp_path, metadata=metadata, **triples)
    for ask in (lambda: memory.history("Ann"), lambda: memory.sql("SELECT count(*) FROM history")):
        with pytest.raises(QueryError, match=message):
            ask()
    assert memory.sql("SELECT 'history', count(*) FROM documents").fetchall() == [("history", 6)]


def test_of_several_fields_of_times_the_recipe_names_one(tmp_path, memory):
    named = built(tmp_path, metadata={"time": "timestamp", "day": "date"}, time="time")
    assert values_of(named.history("Ann")) == values_of(memory.history("Ann"))


def test_without_facts_there_is_no_history(tmp_path):
    source = write_jsonl(tmp_path / "notes.jsonl", [{"id": "a", "text": "note", "time": "2024-01-01"}])
    mnemodex.build(words_recipe(source, tmp_path / "memory"), local=True)
    with pytest.raises(QueryError, match="history: the memory has no facts; add `triples`"):
        mnemodex.open(tmp_path / "memory").history("Ann")


def test_an_entity_is_a_name(memory):
    with pytest.raises(QueryError, match="the entity is a int"):
        memory.history(7)
