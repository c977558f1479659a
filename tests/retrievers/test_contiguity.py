"""Neighbours of hits: the sequences of chunks, and what they lend each other."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from engines import InlineEngine
from hypothesis import given, settings
from hypothesis import strategies as st
from library import words_recipe, write_jsonl

import mnemodex
from mnemodex.indexers.contiguity import Sequences
from mnemodex.indexers.rows import Rows
from mnemodex.pipelines import run as run_module
from mnemodex.retrievers.contiguity import ContiguityRetriever
from mnemodex.retrievers.hits import Hits
from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.manifest import IndexEntry


def sequences(lengths):
    """Chunks with the ids 0, 10, 20, … in sequences of some lengths."""
    size = sum(lengths)
    rows = Rows(np.arange(size) * 10, np.zeros(size, np.int32), np.arange(size), ("p",))
    return Sequences(rows, np.cumsum([0, *lengths]))


def retriever(lengths, ranking, **given):
    """A contiguity index over an index that answers every question with one ranking of (id, score)."""

    def search(queries, k, *, where=None):
        ids, scores = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32)
        for rank, (chunk_id, score) in enumerate(ranking[:k]):
            ids[:, rank], scores[:, rank] = chunk_id, score
        partition = np.where(ids < 0, -1, 0).astype(np.int32)
        return Hits(ids, scores, partition, np.where(ids < 0, -1, ids // 10), ("p",), None)

    of = SimpleNamespace(search=search)
    memory = SimpleNamespace(
        retriever=lambda name: of,
        kind=lambda name: SimpleNamespace(hits="chunk"),
        snapshot=None,
        ids_where=lambda where: np.array(json.loads(where), np.int64),
    )
    made = ContiguityRetriever(
        memory, IndexEntry(name="near", type="contiguity", fingerprint="", settings={"of": "of", **given})
    )
    made.__dict__["sequences"] = sequences(lengths)
    return made


def scored(hits, query=0):
    found = hits.ids[query] >= 0
    return dict(zip(hits.ids[query, found].tolist(), hits.scores[query, found].tolist(), strict=True))


def test_neighbours_gain_a_share_that_decays_with_the_distance():
    hits = retriever([9], [(40, 3.0)], before=2, after=1, decay=0.5).search(["q"], 9)
    excess = 1 - 1 / 100
    assert scored(hits) == pytest.approx({40: 1, 30: excess / 2, 50: excess / 2, 20: excess / 4})


def test_nothing_is_lent_to_another_sequence():
    assert set(scored(retriever([2, 3, 2], [(20, 3.0)]).search(["q"], 9))) == {20, 30, 40}


def test_the_best_neighbour_lends_and_not_the_sum_of_all():
    near = retriever([5], [(10, 3.0), (30, 3.0)], before=1, after=1)
    found = scored(near.search(["q"], 9))
    assert found[20] == pytest.approx(found[0]) == pytest.approx(found[40])


def test_hits_below_the_mean_fill_up_the_list_and_lend_nothing():
    ranking = [(0, 10.0), *((number * 10, 1.0 - number / 100) for number in range(5, 12))]
    found = scored(retriever([20], ranking, depth=8, before=0, after=1).search(["q"], 20))
    assert set(found) == {0, 10, *(number * 10 for number in range(5, 12))}


def test_where_keeps_neighbours_out_that_it_does_not_keep():
    assert set(scored(retriever([9], [(40, 3.0)]).search(["q"], 9, where="[20, 40]"))) == {20, 40}


def test_reasons_name_the_rank_of_a_hit_and_the_neighbour_that_lends():
    hits = retriever([9], [(40, 3.0), (50, 2.0), (0, 1.0)], before=1, after=1).search(["q"], 3)
    assert hits.ids[0].tolist() == [40, 50, 30]
    assert [[reason.text for reason in hit] for hit in hits.reasons()[0]] == [
        ["of: rank 1, 3.45 deviations above the others", "1 before rank 2 of of"],
        ["of: rank 2, 2.22 deviations above the others", "1 after rank 1 of of"],
        ["1 before rank 1 of of"],
    ]
    sums = [sum(reason.score for reason in hit) for hit in hits.reasons()[0]]
    np.testing.assert_allclose(sums, hits.scores[0], rtol=1e-6)


def test_no_question_no_hit_and_no_chunk():
    assert (retriever([3], []).search(["q", "r"], 2).ids == -1).all()
    assert retriever([3], [(0, 1.0)]).search([], 2).ids.shape == (0, 2)


rankings = st.lists(st.integers(0, 11), unique=True, max_size=9).flatmap(
    lambda ids: st.lists(st.floats(-9, 9, width=32), min_size=len(ids), max_size=len(ids)).map(
        lambda scores: [(10 * number, score) for number, score in zip(ids, sorted(scores, reverse=True), strict=True)]
    )
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=5).filter(lambda lengths: sum(lengths) >= 12),
    rankings,
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(1, 9),
)
def test_scores_are_those_of_a_plain_loop(lengths, ranking, before, after, depth):
    found = scored(retriever(lengths, ranking, before=before, after=after, depth=depth, decay=0.5).search(["q"], 30))
    first = np.array([score for _, score in ranking[:depth]])
    deviation = first.std() if len(first) else 1
    deviation = 1 if len(first) and deviation <= 1e-6 * max(abs(first.mean()), 1e-30) else deviation
    standing = {chunk: (score - ranking[-1][1]) / deviation + (len(ranking) < 30) for chunk, score in ranking}
    mean = sum(standing[chunk] for chunk, _ in ranking[:depth]) / depth
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    expected = dict(standing)
    for place in range(len(sequence)):
        lent = [
            (standing[10 * other] - mean) * 0.5 ** abs(other - place)
            for other in range(max(0, place - after), min(len(sequence), place + before + 1))
            if other != place and sequence[other] == sequence[place] and standing.get(10 * other, -1) > mean
        ]
        if lent:
            expected[10 * place] = standing.get(10 * place, 0) + max(lent)
    # Standings that are equal but for rounding are above the mean or not.
    if all(abs(value - mean) > 1e-5 for value in standing.values()):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.data())
def test_sequences_without_some_chunks_are_those_of_the_others(lengths, data):
    made = sequences(lengths)
    left_out = np.array(data.draw(st.lists(st.booleans(), min_size=sum(lengths), max_size=sum(lengths))))
    kept = made.without(left_out)
    before = [list(range(start, stop)) for start, stop in zip(made.starts, made.starts[1:], strict=False)]
    expected = [[10 * place for place in sequence if not left_out[place]] for sequence in before]
    assert [kept.rows.ids[a:b].tolist() for a, b in zip(kept.starts, kept.starts[1:], strict=False)] == expected
    places = np.arange(len(kept.rows.ids))
    assert np.array_equal(kept.places(kept.rows.ids), places)
    around = kept.around(places, 1, 1)
    assert np.array_equal(around[:, 1], places)
    flat = [chunk for sequence in expected for chunk in sequence]
    for place, (left, _, right) in enumerate(around.tolist()):
        sequence = next(one for one in expected if flat[place] in one)
        at = sequence.index(flat[place])
        assert (left, right) == (place - 1 if at else -1, place + 1 if at + 1 < len(sequence) else -1)


class TestBuilt:
    @pytest.fixture
    def make(self, tmp_path, monkeypatch):
        monkeypatch.setattr(run_module, "choose_engine", InlineEngine)

        def build(rows, metadata=None, **given):
            source = write_jsonl(tmp_path / "notes.jsonl", rows)
            indexes = {"words": {"type": "bm25"}, "near": {"type": "contiguity", "of": "words", **given}}
            recipe = words_recipe(source, tmp_path / "memory", indexes=indexes)
            if metadata:
                recipe["source"]["metadata"] = metadata
            self.result = mnemodex.build(recipe)
            return mnemodex.open(tmp_path / "memory")

        return build

    def order_of(self, memory):
        """The keys of every sequence."""
        made = memory.retriever("near").sequences
        keys = dict(memory.sql("SELECT c.chunk_id, d.key FROM chunks c JOIN documents d USING (doc_id)").fetchall())
        ids = [made.rows.ids[a:b].tolist() for a, b in zip(made.starts, made.starts[1:], strict=False)]
        return sorted([keys[chunk] for chunk in sequence] for sequence in ids)

    def warnings(self):
        return [warning for warning in self.result.warnings if "near" in warning]

    def test_turns_are_ordered_by_size_within_their_session(self, make):
        turns = [(0, "b", 10), (1, "a", 2), (2, "b", 9), (3, "a", 10), (4, "a", 1)]
        rows = [{"id": f"{n}", "text": "lamp", "session": s, "turn": t} for n, s, t in turns]
        for metadata in (None, {"session": "string", "turn": "int"}):
            memory = make(rows, metadata, within=["session"], order="turn")
            assert self.order_of(memory) == [["2", "0"], ["4", "1", "3"]] and self.warnings() == []

    def test_times_are_compared_in_utc_and_equal_ones_keep_the_order_of_the_source(self, make):
        times = (
            "2024-05-01T12:00:00",
            "2024-05-01T13:30:00+02:00",
            "2024-05-01T12:00:00Z",
            "2024-05-01T09:00:00-01:00",
        )
        rows = [{"id": f"{n}", "text": "lamp", "chat": 1, "time": time} for n, time in enumerate(times)]
        memory = make(rows, {"chat": "int", "time": "timestamp"}, within=["chat"], order="time")
        assert self.order_of(memory) == [["3", "1", "0", "2"]]
        (zones,) = [warning for warning in self.result.warnings if "time zone" in warning]
        assert zones.startswith("times of the metadata field 'time' without a time zone: 1 of 4; they count as UTC;")
        assert self.warnings() == [
            "indexes.near: 2 of 4 documents have the same value of `order` (time) as another one of their sequence; "
            "these are in the order of the source"
        ]

    def test_times_that_go_back_are_sorted_and_without_an_order_the_source_is_followed(self, make):
        rows = [{"id": f"{n}", "text": "lamp", "chat": 1, "time": f"2024-05-0{9 - n}T00:00:00Z"} for n in range(3)]
        metadata = {"chat": "int", "time": "timestamp"}
        assert self.order_of(make(rows, metadata, within=["chat"], order="time")) == [["2", "1", "0"]]
        assert self.warnings() == []
        assert self.order_of(make(rows, metadata, within=["chat"])) == [["0", "1", "2"]]

    def test_texts_that_are_no_numbers_are_counted_in_one_warning(self, make):
        times = ("March-15-2024", "yesterday", "April-1-2024", "7", None)
        rows = [{"id": f"{n}", "text": "lamp", "chat": "x", "time": time} for n, time in enumerate(times)]
        assert self.order_of(make(rows, within=["chat"], order="time")) == [["3", "2", "0", "1", "4"]]
        assert [warning.partition(";")[0] for warning in self.warnings()] == [
            "indexes.near: 1 of 5 documents lack the field `order` (time)",
            "indexes.near: 3 of 5 documents have a value of `order` (time) that is no number",
        ]

    def test_a_session_of_one_turn_has_no_neighbours(self, make):
        rows = [{"id": f"{n}", "text": "lamp", "chat": n, "turn": 1} for n in range(2)]
        memory = make(rows, within=["chat"], order="turn")
        assert self.warnings() == []
        spans = memory.retriever("near").search(["lamp"], 5, expand=3)[0]
        assert sorted([piece.key for piece in span.pieces] for span in spans) == [["0"], ["1"]]

    def test_what_lacks_a_field_is_counted_in_one_warning(self, make):
        rows = [{"id": f"{n}", "text": "lamp", "chat": "x", "turn": 9 - n} for n in range(3)]
        rows += [{"id": "late", "text": "lamp", "chat": "x"}, {"id": "own", "text": "lamp", "turn": 1}]
        memory = make(rows, within=["chat"], order="turn")
        assert self.order_of(memory) == [["2", "1", "0", "late"], ["own"]]
        assert [warning.partition(";")[0] for warning in self.warnings()] == [
            "indexes.near: 1 of 5 documents lack a field of `within` (chat)",
            "indexes.near: 1 of 5 documents lack the field `order` (turn)",
        ]

    def test_a_field_that_no_document_has_is_one_warning(self, make):
        memory = make([{"id": f"{n}", "text": "lamp"} for n in range(3)], order="turn")
        assert self.order_of(memory) == [["0"], ["1"], ["2"]] and len(self.warnings()) == 1

    def test_chunks_of_a_document_follow_each_other(self, make):
        memory = make([{"id": "a", "text": "one lamp"}, {"id": "b", "text": ""}])
        hits = memory.retriever("near").search(["lamp"], 5)
        assert [chunk.key for chunk in hits[0]] == ["a"]

    def test_added_turns_join_their_session_and_deleted_ones_leave_it(self, make):
        texts = ["the ferry leaves", "what about supper", "bread and rye", "a quiet evening"]
        rows = [{"id": f"{n}", "text": text, "chat": "x", "turn": 10 * n} for n, text in enumerate(texts)]
        memory = make(rows, within=["chat"], order="turn")
        found = memory.retriever("near").search(["ferry"], 5)
        assert [chunk.key for chunk in found[0]] == ["0", "1", "2"]
        memory.add([{"id": "early", "text": "hello", "chat": "x", "turn": 5}])
        memory = memory.newer() or memory
        assert self.order_of(memory) == [["0", "early", "1", "2", "3"]]
        memory.delete(["early", "1"])
        memory = memory.newer() or memory
        assert self.order_of(memory) == [["0", "2", "3"]]
        found = memory.retriever("near").search(["ferry"], 5)
        assert [chunk.key for chunk in found[0]] == ["0", "2", "3"]

    def test_a_session_of_ten_thousand_turns_is_one_sequence(self, make):
        rows = [{"id": f"{n}", "text": f"w{n % 7}", "chat": "x", "turn": -n} for n in range(10_000)]
        made = make(rows, within=["chat"], order="turn").retriever("near").sequences
        assert made.starts.tolist() == [0, 10_000]

    def test_names_with_quotes_and_dots_are_fields(self, make):
        rows = [{"id": f"{n}", "text": "lamp", "it's": {"a/b": "x"}, 'so"': 3 - n} for n in range(3)]
        memory = make(rows, within=["it's.a/b"], order='so"')
        assert self.order_of(memory) == [["2", "1", "0"]]

    def test_an_index_of_nothing_is_refused(self, make):
        with pytest.raises(RecipeError, match=r"indexes\.near\.of names 'nothing'"):
            make([{"id": "a", "text": "lamp"}], of="nothing")
