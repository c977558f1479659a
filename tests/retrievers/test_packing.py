"""Spans and contexts: hits with their neighbourhoods, every text once, within a budget."""

from __future__ import annotations

import shutil

import pytest
from engines import InlineEngine
from hypothesis import given, settings
from hypothesis import strategies as st
from library import words_recipe, write_jsonl

import mnemodex
from mnemodex.pipelines import run as run_module
from mnemodex.schemas.errors import QueryError

TURNS = ("the ferry leaves", "what about supper", "bread and rye", "a quiet lamp", "the ferry returns", "good night")
LONG = " ".join(f"word{number}" for number in range(40)) + " beacon " + " ".join(f"tail{n}" for n in range(40))


def count(text):
    return len(text.split())


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packing")
    rows = [{"id": f"t{n}", "text": text, "chat": "x", "turn": n, "day": "2024-01-01"} for n, text in enumerate(TURNS)]
    rows += [{"id": "long", "title": "A title", "text": LONG}]
    source = write_jsonl(folder / "notes.jsonl", rows)
    indexes = {
        "words": {"type": "bm25"},
        "near": {"type": "contiguity", "of": "words", "within": ["chat"], "order": "turn"},
        "recent": {"type": "recency", "of": "near", "field": "day", "half_life": "30d"},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "choose_engine", InlineEngine)
        chunks = {"by": "tokens", "size": 16, "overlap": 4}
        recipe = words_recipe(source, folder / "memory", indexes=indexes, chunks=chunks)
        recipe["source"]["metadata"] = {"day": "date"}
        mnemodex.build(recipe)
    return mnemodex.open(folder / "memory")


def search(memory, *questions, k=3, index="words"):
    return memory.retriever(index).search(list(questions), k)


def expand(memory, *questions, k=3, index="words", around):
    return memory.retriever(index).search(list(questions), k, expand=around)


def test_neighbours_in_a_document_are_one_piece_of_its_text(memory):
    (span,), nothing = expand(memory, "beacon", "xyzzy", k=1, around=1)
    (piece,) = span.pieces
    assert piece.text == LONG[piece.start : piece.end] and "beacon" in piece.text and nothing == []
    (alone,), _ = expand(memory, "beacon", "xyzzy", k=1, around=0)
    assert alone.pieces[0].start > piece.start and alone.pieces[0].end < piece.end
    (before,), _ = expand(memory, "beacon", "xyzzy", k=1, around=(1, 0))
    assert (before.pieces[0].start, before.pieces[0].end) == (piece.start, alone.pieces[0].end)


@pytest.mark.parametrize("index", ["near", "recent"])
def test_neighbours_in_a_session_are_pieces_of_other_documents(memory, index):
    (spans,) = expand(memory, "ferry", k=2, index=index, around=1)
    assert sorted([piece.key for piece in span.pieces] for span in spans) == [["t0", "t1"], ["t3", "t4", "t5"]]
    (one,) = expand(memory, "ferry", k=2, index=index, around=(2, 2))[0]
    assert [piece.key for piece in one.pieces] == ["t0", "t1", "t2", "t3", "t4", "t5"] and one.ranks == (1, 2)


def test_without_a_session_turns_have_no_neighbours(memory):
    (spans,) = expand(memory, "ferry", around=2)
    assert sorted(span.text for span in spans) == ["the ferry leaves", "the ferry returns"]


@pytest.mark.parametrize("around", [-1, (1, -1), True, "1", (1, 2, 3), 1.5, 10**19, (0, 10**5)])
def test_what_is_no_number_of_chunks_is_refused(memory, around):
    with pytest.raises(QueryError, match=r"expand is .*; give a number of chunks from 0 to 10000, or two"):
        expand(memory, "ferry", around=around)


def test_a_context_has_each_text_once_and_repeats_as_asked(memory):
    near = memory.retriever("near")
    (context,) = mnemodex.pack(search(memory, "ferry"), budget=99, tokenizer=count, before=2, after=2, near=near)
    assert context.text == "\n\n".join(TURNS) and context.tokens == count(context.text)
    (twice,) = mnemodex.pack(
        search(memory, "ferry"), budget=99, tokenizer=count, before=2, after=2, near=near, repeat=2
    )
    assert twice.text == f"{context.text}\n\n{context.text}" and twice.tokens == 2 * context.tokens


def test_a_neighbourhood_that_does_not_fit_is_left_and_a_hit_that_does_not_is_counted(memory):
    near = memory.retriever("near")
    (context,) = mnemodex.pack(search(memory, "ferry"), budget=4, tokenizer=count, before=1, after=1, near=near)
    first, second = search(memory, "ferry")[0]
    assert context.text == first.text and context.tokens == 3
    assert (context.left_out, context.missing) == ((2,), (second.key,))
    (nothing,) = mnemodex.pack(search(memory, "ferry"), budget=2, tokenizer=count)
    assert (nothing.text, nothing.spans, nothing.left_out) == ("", (), (1, 2))


def test_the_order_is_by_rank_or_of_the_source(memory):
    hits = search(memory, "night ferry lamp", k=6)
    (by_rank,) = mnemodex.pack(hits, budget=99, tokenizer=count)
    (by_source,) = mnemodex.pack(hits, budget=99, tokenizer=count, order="source")
    assert [span.ranks for span in by_rank.spans] == [(1,), (2,), (3,), (4,)]
    assert [span.pieces[0].key for span in by_source.spans] == ["t0", "t3", "t4", "t5"]


def test_hits_of_one_text_are_in_a_context_once(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "choose_engine", InlineEngine)
    texts = ("the ferry leaves", "the ferry leaves", "the ferry returns at nine")
    rows = [{"id": f"d{n}", "text": text} for n, text in enumerate(texts)]
    mnemodex.build(words_recipe(write_jsonl(tmp_path / "notes.jsonl", rows), tmp_path / "memory"))
    hits = mnemodex.open(tmp_path / "memory").retriever("words").search(["the ferry leaves"], 3)
    (context,) = mnemodex.pack(hits, budget=99, tokenizer=count)
    assert context.text == "the ferry leaves\n\nthe ferry returns at nine"
    assert (context.repeated, context.left_out, context.missing) == ((2,), (), ())
    (nothing,) = mnemodex.pack(hits, budget=2, tokenizer=count)
    assert (nothing.repeated, nothing.left_out, len(nothing.missing)) == ((), (1, 2, 3), 3)


def test_titles_are_above_their_text_and_tokens_are_those_of_a_model(memory):
    (context,) = mnemodex.pack(search(memory, "beacon", k=1), budget=500)
    assert context.text.startswith("A title\n") and context.tokens > count(context.text)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(0, 3), st.integers(0, 3), st.integers(1, 3), st.booleans())
def test_no_budget_is_exceeded_and_no_hit_is_lost(memory, budget, before, after, repeat, in_session):
    near = memory.retriever("near") if in_session else None
    hits = search(memory, "ferry beacon lamp", "xyzzy", k=5)
    given = {"budget": budget, "tokenizer": count, "before": before, "after": after, "near": near, "repeat": repeat}
    context, empty = mnemodex.pack(hits, **given)
    assert context.tokens <= budget and empty.text == ""
    ranks = [rank for span in context.spans for rank in span.ranks]
    assert sorted([*ranks, *context.left_out, *context.repeated]) == list(range(1, len(hits[0]) + 1))
    seen = [
        (piece.doc_id, place)
        for span in context.spans
        for piece in span.pieces
        for place in range(piece.start, piece.end)
    ]
    if not in_session:
        assert len(seen) == len(set(seen))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"budget": 0}, "budget is 0"),
        ({"budget": 9, "repeat": 0}, "repeat is 0"),
        ({"budget": 9, "order": "time"}, "order is 'time'"),
        ({"budget": "9"}, "budget is '9'"),
        ({"budget": 9, "tokenizer": None}, "tokenizer is None"),
        ({"budget": 9, "before": -1}, "before is -1"),
        ({"budget": 9, "before": 10**19}, "before is 10{19} and after is 0; give numbers of chunks from 0 to 10000"),
        ({"budget": 9, "after": "1"}, "after is '1'"),
        ({"budget": 9, "near": "near"}, "near is a str; give the retriever of an index of type contiguity"),
    ],
)
def test_what_is_no_context_is_refused(memory, given, message):
    with pytest.raises(QueryError, match=message):
        mnemodex.pack(search(memory, "ferry"), **given)


def test_groups_and_indexes_of_another_memory_are_no_neighbours(memory, tmp_path):
    groups = memory.retriever("words").search(["ferry"], group_by="chat")
    with pytest.raises(QueryError, match="the hits are a list"):
        mnemodex.pack(groups, budget=9)
    copied = shutil.copytree(str(memory.snapshot.store.root), tmp_path / "copy")
    near = mnemodex.open(copied).retriever("near")
    with pytest.raises(QueryError, match=r"near: index 'near' is of snapshot .* Give an index of the memory"):
        mnemodex.pack(search(memory, "ferry"), budget=9, near=near)


def test_a_blank_title_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "choose_engine", InlineEngine)
    source = write_jsonl(tmp_path / "notes.jsonl", [{"id": "a", "title": " \u200b ", "text": "the ferry leaves"}])
    mnemodex.build(words_recipe(source, tmp_path / "memory"))
    (context,) = mnemodex.pack(search(mnemodex.open(tmp_path / "memory"), "ferry"), budget=9, tokenizer=count)
    assert context.text == "the ferry leaves"
