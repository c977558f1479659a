"""Hits of an index that are weighed by their age."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from library import write_jsonl

import mnemodex
from mnemodex.schemas.errors import QueryError, RecipeError

NOTES = [
    {"id": "new", "text": "the harbour lamp was lit", "time": "2024-03-31T00:00:00Z", "year": 2024},
    {"id": "old", "text": "the harbour lamp was lit", "time": "2024-03-01T00:00:00", "year": 2023},
    {"id": "older", "text": "the harbour lamp was lit", "time": "2024-01-31T00:00:00+00:00", "year": 2022},
    {"id": "weaker", "text": "the harbour and the lamp were painted in the spring by people", "time": "2024-03-30"},
    {"id": "undated", "text": "the harbour lamp was lit"},
]


def built(tmp_path, notes=NOTES, indexes=None, **settings):
    source = write_jsonl(tmp_path / "notes.jsonl", notes)
    recipe = {
        "memory": str(tmp_path / "memory"),
        "source": {"path": str(source), "metadata": {"time": "timestamp", "year": "int"}},
        "indexes": {
            "words": {"type": "bm25"},
            "recent": {"type": "recency", "of": "words", "field": "time", "half_life": "30d", **settings},
            **(indexes or {}),
        },
    }
    mnemodex.build(recipe, local=True)
    return mnemodex.open(recipe["memory"])


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    return built(tmp_path_factory.mktemp("recency"))


def scores_of(memory, index, k=10, **options):
    return {chunk.key: chunk.score for chunk in memory.retriever(index).search(["harbour lamp"], k, **options)[0]}


def test_what_a_hit_is_above_the_last_is_halved_with_every_half_life(memory):
    before, after = scores_of(memory, "words"), scores_of(memory, "recent")
    lowest = min(before.values())
    newest = datetime(2024, 3, 31)
    for note in NOTES[:4]:
        age = newest - datetime.fromisoformat(note["time"]).replace(tzinfo=None)
        left = 0.5 ** (age / timedelta(days=30))
        assert after[note["id"]] == pytest.approx(lowest + (before[note["id"]] - lowest) * left, rel=1e-5)
    assert next(iter(after)) == "new", "texts are the same, and this is the newest"


def test_a_hit_without_a_time_is_as_old_as_the_oldest_and_is_counted(memory, tmp_path, caplog):
    scores = scores_of(memory, "recent")
    assert scores["undated"] == scores["older"]
    fresh = built(tmp_path)
    fresh.retriever("recent").search(["lamp"], 1)
    fresh.retriever("recent").search(["lamp"], 1)
    said = [record.getMessage() for record in caplog.records if "documents have no time" in record.getMessage()]
    assert said == ["index 'recent': 1 documents have no time; they count as old as a question's oldest hit"]


def test_without_any_time_the_order_is_that_of_the_index(tmp_path):
    memory = built(tmp_path, [{key: note[key] for key in ("id", "text")} for note in NOTES])
    words, recent = (memory.retriever(name).search(["harbour lamp"], 5) for name in ("words", "recent"))
    assert np.array_equal(words.ids, recent.ids)
    np.testing.assert_allclose(words.scores, recent.scores, rtol=1e-6)


def test_a_filter_applies_before_hits_are_weighed(memory):
    assert set(scores_of(memory, "recent", where="d.year < 2024")) == {"old", "older"}


def test_only_the_first_hits_are_weighed(tmp_path):
    memory = built(tmp_path, depth=2)
    first = memory.retriever("words").search(["harbour lamp"], 2).ids[0].tolist()
    assert sorted(memory.retriever("recent").search(["harbour lamp"], 2).ids[0].tolist()) == sorted(first)


def test_nothing_found_is_nothing_weighed(memory):
    assert (memory.retriever("recent").search(["xyzzy", ""], 3).ids == -1).all()


@pytest.mark.parametrize(
    ("aged", "plain"),
    [
        ({"type": "hybrid", "of": ["words", "others"]}, "hybrid"),
        ({"type": "contiguity", "of": "words"}, "contiguity"),
    ],
    ids=["hybrid", "contiguity"],
)
def test_fused_and_neighbouring_hits_are_weighed_as_those_of_another_index(tmp_path, aged, plain):
    ageing = {"field": "time", "half_life": "30d"}
    indexes = {
        "others": {"type": "bm25", "k1": 0.5},
        "plain": aged,
        "key": aged | {"recency": ageing},
        "kind": {"type": "recency", "of": "plain", **ageing},
    }
    memory = built(tmp_path, indexes=indexes)
    of_key, of_kind = (memory.retriever(name).search(["harbour lamp", "xyzzy"], 5) for name in ("key", "kind"))
    assert np.array_equal(of_key.ids, of_kind.ids) and np.array_equal(of_key.scores, of_kind.scores)
    assert of_key.reasons() == of_kind.reasons()
    assert next(iter(scores_of(memory, "key"))) == "new" and memory.snapshot.index("plain").type == plain


@pytest.mark.parametrize("kind", ["hybrid", "contiguity"])
def test_a_key_of_another_index_is_checked_as_the_kind_is(tmp_path, kind):
    of = ["words", "recent"] if kind == "hybrid" else "words"
    with pytest.raises(RecipeError, match=r"indexes.aged.recency.half_life: .*'soon' is no age"):
        built(tmp_path, indexes={"aged": {"type": kind, "of": of, "recency": {"field": "time", "half_life": "soon"}}})
    aged = {"type": kind, "of": of, "recency": {"field": "year", "half_life": "30d"}}
    with pytest.raises(QueryError, match=r"index 'aged': field 'year' is of type int; name one of times \(time\)"):
        built(tmp_path, indexes={"aged": aged}).retriever("aged")


def test_reasons_tell_the_weight_and_the_former_place(memory):
    hits = memory.retriever("recent").search(["harbour lamp"], 1)
    assert hits.reasons()[0][0][0].text.startswith("weight 1.000 by age; was hit ")


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("year", r"field 'year' is of type int; name one of times \(time\)"),
        ("when", "field 'when' is no column of docu"),
    ],
)
def test_a_field_that_holds_no_times_is_refused(tmp_path, field, message):
    with pytest.raises(QueryError, match=message):
        built(tmp_path, field=field).retriever("recent")


@pytest.mark.parametrize(("half_life", "message"), [("soon", "'soon' is no age; write 7d"), ("0d", "longer than 0")])
def test_a_half_life_is_an_age(tmp_path, half_life, message):
    with pytest.raises(RecipeError, match=message):
        built(tmp_path, half_life=half_life)
