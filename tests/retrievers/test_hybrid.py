"""Reciprocal rank fusion, on rankings that are made up."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mnemodex.retrievers.hits import Hits
from mnemodex.retrievers.hybrid import HybridRetriever

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


def fuse(*parts, **settings):
    retrievers = {f"part{number}": part for number, part in enumerate(parts)}
    chunks = SimpleNamespace(hits="chunk")
    memory = SimpleNamespace(retriever=retrievers.__getitem__, kind=lambda name: chunks, snapshot=SNAPSHOT)
    entry = SimpleNamespace(name="both", settings={"type": "hybrid", "of": list(retrievers), **settings})
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
