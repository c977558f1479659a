"""Hits by the sessions of their documents, and the measures of these."""

from __future__ import annotations

import json

import pytest
from engines import InlineEngine
from library import words_recipe, write_jsonl

import mnemodex
from mnemodex.pipelines import run as run_module
from mnemodex.retrievers.evaluation import evaluate
from mnemodex.retrievers.grouping import GroupBy, groups_of
from mnemodex.retrievers.queries import Query
from mnemodex.schemas.errors import QueryError

TEXTS = (
    ("a", "lamp lamp lamp lamp"),
    ("a", "straw straw straw straw"),
    ("b", "lamp lamp lamp rye"),
    ("b", "lamp lamp lamp slate"),
    (None, "lamp lamp oats hay"),
    (None, "lamp oats hay slate"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grouping")
    rows = [{"id": f"d{n}", "text": text, "talk": {"session": session}} for n, (session, text) in enumerate(TEXTS)]
    source = write_jsonl(folder / "notes.jsonl", rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "choose_engine", InlineEngine)
        mnemodex.build(words_recipe(source, folder / "memory"))
    return folder / "memory"


@pytest.fixture(scope="module")
def memory(folder):
    return mnemodex.open(folder)


def found(memory, k=10, **given):
    by = GroupBy("talk.session", **given) if given else "talk.session"
    (groups,) = memory.retriever("words").search(["lamp"], k, group_by=by)
    return groups


def test_groups_are_in_the_order_of_their_best_hits(memory):
    groups = found(memory)
    assert [(group.value, sorted(hit.key for hit in group.hits)) for group in groups] == [
        ("a", ["d0"]),
        ("b", ["d2", "d3"]),
        (None, ["d4"]),
        (None, ["d5"]),
    ]
    assert [group.score for group in groups] == [group.hits[0].score for group in groups]
    assert [group.value for group in found(memory, k=2)] == ["a", "b"]


def test_a_sum_with_decay_raises_groups_of_several_hits(memory):
    assert [group.value for group in found(memory, score="sum", decay=0.9)][:2] == ["b", "a"]
    assert [group.value for group in found(memory, score="sum", decay=0.0)][:2] == ["a", "b"]


def test_more_hits_are_asked_for_until_there_are_enough_groups(memory, monkeypatch):
    from mnemodex.retrievers import grouping

    monkeypatch.setattr(grouping, "_DEPTH", 1)
    assert [group.value for group in found(memory, k=3)] == ["a", "b", None]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"score": "mean"}, "score is 'mean'"),
        ({"decay": 2.0}, "decay is 2.0"),
        ({"decay": "1"}, "decay is '1'"),
        ({"k": 0}, "k is 0"),
    ],
)
def test_what_is_no_grouping_is_refused(memory, given, message):
    with pytest.raises(QueryError, match=message):
        found(memory, **given)


def test_fewer_groups_than_asked_for_are_said_where_no_more_hits_are_given(memory, monkeypatch, caplog):
    words = memory.retriever("words")
    monkeypatch.setattr(words, "most_hits", 2)
    assert [group.value for group in words.search(["lamp"], 3, group_by="talk.session")[0]] == ["a", "b"]
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith("index 'words': 1 questions have fewer than 3 groups among their first 2 hits")


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("talk.sesion", r"no document has the field 'talk.sesion'. Did you mean 'talk.session'\?"),
        ("xyzzy", "The fields are: talk, talk.session"),
        ("", "The fields are: talk, talk.session"),
        (7, "group_by is 7; name a field"),
    ],
)
def test_a_field_that_no_document_has_is_refused(memory, field, message):
    for question in ("lamp", "xyzzy"):
        with pytest.raises(QueryError, match=message):
            memory.retriever("words").search([question], group_by=field)


def test_documents_without_a_field_that_others_have_are_groups_of_their_own(memory):
    groups = memory.retriever("words").search(["hay", "xyzzy"], group_by="talk.session")
    assert [[group.value for group in answer] for answer in groups] == [[None, None], []]


def test_measures_of_groups_fold_gold_and_answers(memory):
    groups = groups_of(memory, "talk.session")
    assert groups == {"d0": "a", "d1": "a", "d2": "b", "d3": "b", "d4": "(document d4)", "d5": "(document d5)"}
    queries = [Query("1", "lamp", {"d3": 1, "d1": 1}), Query("2", "lamp", {"d5": 1})]
    metrics = evaluate(memory.retriever("words"), queries, groups=groups).metrics
    assert (metrics["R@1"], metrics["R@2"], metrics["R@5"], metrics["all@5"]) == (0.25, 0.5, 1.0, 1.0)
    with pytest.raises(QueryError, match="no document has the field 'chat'"):
        groups_of(memory, "chat")


def test_eval_ranks_groups(cli, folder, tmp_path):
    queries = write_jsonl(tmp_path / "q.jsonl", [{"id": "1", "question": "lamp", "gold_ids": ["d1"]}])
    ran = cli("eval", folder, "words", "--queries", queries, "--group-by", "talk.session", "--json")
    assert json.loads(ran.out)["metrics"]["R@1"] == 1.0
    assert json.loads(cli("eval", folder, "words", "--queries", queries, "--json").out)["metrics"]["R@10"] == 0.0
