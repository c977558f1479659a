"""Fusion by ranks and by scores, on rankings that are made up."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemodex.retrievers.hits import Hits
from mnemodex.retrievers.hybrid import HybridRetriever
from mnemodex.schemas.errors import CorruptFileError

SNAPSHOT = SimpleNamespace(store=None)


class Ranking:
    """A retriever that answers every question with one ranking of (id, score); ids are at row id of their label."""

    def __init__(self, *pairs, labels=("p0", "p1")):
        self.pairs, self.labels = pairs, labels
        self.asked = []

    def search(self, queries, k, *, where=None):
        self.asked.append((list(queries), k, where))
        ids = np.full((len(queries), k), -1, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        for place, (chunk_id, score) in enumerate(self.pairs[:k]):
            ids[:, place], scores[:, place] = chunk_id, score
        partition = np.where(ids < 0, -1, [[self.labels.index(f"p{value % 2}") for value in row] for row in ids])
        return Hits(ids, scores, partition.astype(np.int32), ids.copy(), self.labels, SNAPSHOT)


def fuse(*parts, types=None, fitted=None, **settings):
    retrievers = {f"part{number}": part for number, part in enumerate(parts)}
    chunks = SimpleNamespace(hits="chunk")
    type_of = dict(zip(retrievers, types or ["dense"] * len(parts), strict=True))
    snapshot = SimpleNamespace(store=None, index=lambda name: SimpleNamespace(type=type_of[name]))
    memory = SimpleNamespace(retriever=retrievers.__getitem__, kind=lambda name: chunks, snapshot=snapshot)
    entry = SimpleNamespace(name="both", settings={"type": "hybrid", "of": list(retrievers), **settings}, fitted=fitted)
    return HybridRetriever(memory, entry)


def test_a_score_is_the_sum_of_one_over_constant_plus_rank():
    hits = fuse(Ranking((7, 0.9), (3, 0.8), (5, 0.7)), Ranking((3, 12.0), (8, 4.0))).search(["q"], 5)
    assert hits.ids[0].tolist() == [3, 7, 8, 5, -1]
    np.testing.assert_allclose(hits.scores[0, :4], [1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63], rtol=1e-6)
    assert np.isneginf(hits.scores[0, 4])
    assert hits.scores.dtype == np.float32 and hits.ids.dtype == np.int64


def test_equal_sums_are_ordered_by_id():
    hits = fuse(Ranking((9, 1.0), (2, 0.5)), Ranking((2, 1.0), (9, 0.5))).search(["q"], 2)
    assert hits.ids[0].tolist() == [2, 9] and hits.scores[0, 0] == hits.scores[0, 1]


def test_the_constant_is_a_setting():
    hits = fuse(Ranking((1, 1.0)), Ranking((1, 1.0)), constant=1).search(["q"], 1)
    assert hits.scores[0, 0] == 1.0


def test_hits_are_those_of_any_part():
    assert (fuse(Ranking(), Ranking()).search(["q"], 2).ids == -1).all()
    hits = fuse(Ranking((2, 0.9), (1, 0.1)), Ranking()).search(["q"], 4)
    assert hits.ids[0].tolist() == [2, 1, -1, -1]


def test_a_perfect_match_of_a_distance_keeps_its_rank():
    """A negated distance of 0 is the best score there is, not the score of nothing."""
    hits = fuse(Ranking((6, -0.0), (7, -1.0)), Ranking((7, 2.0))).search(["q"], 2)
    assert dict(zip(hits.ids[0].tolist(), hits.scores[0].tolist(), strict=True))[6] == pytest.approx(1 / 61)


def test_every_index_is_asked_for_the_depth_or_k_and_with_the_filter():
    parts = Ranking((1, 1.0)), Ranking((1, 1.0))
    hybrid = fuse(*parts, depth=20)
    hybrid.search(["a", "b"], 5, where="true")
    hybrid.search(["c"], 50)
    assert parts[0].asked == parts[1].asked == [(["a", "b"], 20, "true"), (["c"], 50, None)]


def test_hits_stand_where_their_index_says_though_partitions_are_numbered_otherwise():
    first = Ranking((1, 0.9), (2, 0.8), labels=("p0", "p1"))
    second = Ranking((3, 0.9), (4, 0.8), labels=("p1", "p0"))
    hits = fuse(first, second).search(["q"], 5)
    found = hits.ids[0] >= 0
    labels = [hits.labels[number] for number in hits.partition[0, found]]
    assert labels == [f"p{chunk_id % 2}" for chunk_id in hits.ids[0, found]]
    assert np.array_equal(hits.row[0, found], hits.ids[0, found])
    assert hits.partition[0, ~found].tolist() == hits.row[0, ~found].tolist() == [-1]


def scored(hits, query=0):
    found = hits.ids[query] >= 0
    return dict(zip(hits.ids[query, found].tolist(), hits.scores[query, found].tolist(), strict=True))


def test_scores_are_standardised_by_the_first_hits_of_their_index():
    """Of 3, 2 and 1 the deviation is the root of two thirds; the part has no more hits, so the last counts one more."""
    first = Ranking((7, 3.0), (8, 2.0), (9, 1.0))
    second = Ranking((9, 40.0), (7, 20.0))
    found = scored(fuse(first, second, fuse="scores", weights=(0.75, 0.25)).search(["q"], 5))
    step = (3 / 2) ** 0.5
    expected = {7: 0.75 * (2 * step + 1) + 0.25, 8: 0.75 * (step + 1), 9: 0.75 + 0.25 * 3}
    assert found == pytest.approx(expected, rel=1e-6) and list(found) == [7, 8, 9]


def test_chunks_that_an_index_has_cut_off_count_with_its_lowest_score():
    first = Ranking(*((number, 9.0 - number) for number in range(9)))
    found = scored(fuse(first, Ranking((20, 1.0)), fuse="scores", depth=5).search(["q"], 5))
    step = 1 / 2**0.5
    assert found == pytest.approx({0: 2 * step, 1: 1.5 * step, 2: step, 3: 0.5 * step, 20: 0.5}, rel=1e-6)


def test_weights_are_relative_for_scores_and_factors_for_ranks():
    parts = Ranking((1, 3.0), (2, 1.0)), Ranking((2, 9.0), (3, 2.0))
    once, twice = (scored(fuse(*parts, fuse="scores", weights=w).search(["q"], 3)) for w in ((1, 3), (2, 6)))
    assert once == pytest.approx(twice)
    ranks = scored(fuse(*parts, weights=(2, 0)).search(["q"], 3))
    assert ranks == pytest.approx({1: 2 / 61, 2: 2 / 62, 3: 0})


def test_fitted_weights_are_those_of_the_manifest():
    parts = Ranking((1, 3.0), (2, 1.0)), Ranking((2, 9.0), (3, 2.0))
    fitted = SimpleNamespace(weights=(0.25, 0.75))
    auto = {"fuse": "scores", "weights": "auto", "queries": "q.jsonl"}
    expected = fuse(*parts, fuse="scores", weights=(0.25, 0.75)).search(["q"], 3)
    assert scored(fuse(*parts, fitted=fitted, **auto).search(["q"], 3)) == scored(expected)
    with pytest.raises(CorruptFileError, match="does not hold its fitted weights"):
        fuse(*parts, **auto)


def test_the_index_whose_first_hits_the_other_one_knows_weighs_more():
    """The second one's first hits are near the first one's top; the first one's are unknown to the second."""
    first = Ranking(*((number, 100.0 - number) for number in range(60)))
    second = Ranking(*((number, 100.0 - number) for number in (*range(3, 8), *range(70, 125))))
    hits = fuse(first, second, fuse="scores", weights="auto", depth=50).search(["q"], 60)
    weights = {
        reason.text.partition(":")[0]: float(reason.text.rpartition(" ")[2])
        for hit in hits.reasons()[0]
        for reason in hit
        if "weight" in reason.text
    }
    assert weights["part1"] > weights["part0"] and sum(weights.values()) == pytest.approx(1, abs=0.011)


def test_words_weigh_less_than_vectors_that_are_as_well_supported():
    parts = Ranking((1, 3.0), (2, 1.0)), Ranking((3, 3.0), (4, 1.0))
    found = scored(fuse(*parts, types=("dense", "bm25"), fuse="scores", weights="auto").search(["q"], 4))
    assert found[3] / found[1] == pytest.approx(0.6)


@pytest.mark.parametrize("weights", [None, "auto", (1, 2)])
def test_one_hit_or_none_and_equal_scores_are_fused_all_the_same(weights):
    by_scores = {"fuse": "scores", "weights": weights}
    assert (fuse(Ranking(), Ranking(), **by_scores).search(["q", "r"], 3).ids == -1).all()
    assert list(scored(fuse(Ranking((5, -2.0)), Ranking(), **by_scores).search(["q"], 3))) == [5]
    assert list(scored(fuse(Ranking((5, 0.3), (4, 0.3)), Ranking((4, 7.0)), **by_scores).search(["q"], 3))) == [4, 5]


def test_reasons_of_scores_say_what_each_index_adds():
    hits = fuse(Ranking((7, 3.0), (8, 1.0)), Ranking((8, 5.0)), fuse="scores").search(["q"], 2)
    first, second = hits.reasons()[0]
    assert [reason.text for reason in first] == [
        "part0: rank 1, score 3.0000, 3.00 deviations above the others, weight 0.50",
        "part1: not among its hits",
    ]
    assert sum(reason.score for reason in second) == pytest.approx(float(hits.scores[0, 1]))


rankings = st.lists(st.integers(0, 12), unique=True, max_size=10).flatmap(
    lambda ids: st.lists(st.floats(-50, 50, width=32), min_size=len(ids), max_size=len(ids)).map(
        lambda scores: list(zip(ids, sorted(scores, reverse=True), strict=True))
    )
)


@settings(max_examples=60, deadline=None)
@given(st.lists(rankings, min_size=2, max_size=4), st.integers(1, 8), st.integers(1, 8))
def test_scores_are_those_of_a_plain_loop(parts, k, depth):
    found = scored(fuse(*(Ranking(*part) for part in parts), fuse="scores", depth=depth).search(["q"], k))
    expected: dict[int, float] = {}
    asked = max(k, depth)
    for part in parts:
        first, returned = np.array([score for _, score in part[:depth]], np.float32), part[:asked]
        deviation = first.astype(float).std() if len(first) else 0
        if len(first) and deviation <= 1e-6 * max(abs(first.astype(float).mean()), 1e-30):
            deviation = 1
        for chunk, score in returned:
            standing = (np.float32(score) - float(np.float32(returned[-1][1]))) / deviation + (len(returned) < asked)
            expected[chunk] = expected.get(chunk, 0) + standing / len(parts)
    best = sorted(expected, key=lambda chunk: (-np.float32(expected[chunk]), chunk))[:k]
    assert len(found) == len(best)
    for chunk, score in found.items():
        assert score == pytest.approx(expected[chunk], rel=1e-4, abs=1e-5)
    assert list(found.values()) == pytest.approx([expected[chunk] for chunk in best], rel=1e-4, abs=1e-5)


def test_a_hybrid_of_the_library_is_the_fusion_of_its_parts(memory):
    question = ["bread baked twice near the coast"]
    parts = [memory.retriever(name).search(question, 119) for name in ("flat", "words")]
    expected = {}
    for part in parts:
        for rank, chunk_id in enumerate(part.ids[0].tolist(), 1):
            if chunk_id >= 0 and rank <= 100:
                expected[chunk_id] = expected.get(chunk_id, 0) + 1 / (60 + rank)
    hits = memory.retriever("both").search(question, 20)
    best = sorted(expected, key=lambda chunk_id: (-np.float32(expected[chunk_id]), chunk_id))[:20]
    assert hits.ids[0].tolist() == best
    np.testing.assert_allclose(hits.scores[0], [expected[chunk_id] for chunk_id in best], rtol=1e-6)
