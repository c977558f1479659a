"""The adjacency of a graph: edges of three kinds, sorted by their ends and merged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemodex.indexers.graph import adjacency as module
from mnemodex.indexers.graph.adjacency import Edges, adjacency


def edges(rows):
    left, right, weights = zip(*rows, strict=True) if rows else ((), (), ())
    return Edges(np.array(left, np.int32), np.array(right, np.int32), np.array(weights, np.float32))


def lists(left, right):
    row = st.tuples(st.integers(0, left - 1), st.integers(0, right - 1), st.sampled_from([0.0, 0.5, 1.0, 2.0]))
    return st.lists(row, max_size=20)


def dense(nodes, rows, offset=0):
    matrix, joined = np.zeros((nodes, nodes)), np.zeros((nodes, nodes), bool)
    for left, right, weight in rows:
        if left != right + offset:
            for one, other in ((left, right + offset), (right + offset, left)):
                matrix[one, other] += weight
                joined[one, other] = True
    return matrix, joined


class TestAdjacency:
    @given(facts=lists(6, 6), mentions=lists(6, 3), synonyms=lists(6, 6))
    @settings(max_examples=200)
    def test_it_is_the_matrices_of_the_kinds_side_by_side(self, facts, mentions, synonyms):
        graph = adjacency(6, 3, facts=edges(facts), mentions=edges(mentions), synonyms=edges(synonyms))
        kinds = [dense(9, facts), dense(9, mentions, offset=6), dense(9, synonyms)]
        joined = kinds[0][1] | kinds[1][1] | kinds[2][1]
        rows = np.repeat(np.arange(9), np.diff(graph.indptr))
        assert [*zip(rows, graph.indices, strict=True)] == [*zip(*np.nonzero(joined), strict=True)]
        for weights, (matrix, _) in zip(graph[2:], kinds, strict=True):
            np.testing.assert_array_equal(weights, matrix[joined])

    def test_blocks_give_what_one_list_gives(self, monkeypatch):
        rng = np.random.default_rng(0)
        rows = Edges(rng.integers(0, 30, 500), rng.integers(0, 30, 500), rng.random(500).astype(np.float32))
        whole = adjacency(30, 30, facts=rows, mentions=rows, synonyms=rows)
        monkeypatch.setattr(module, "_BLOCK", 7)
        for one, other in zip(whole, adjacency(30, 30, facts=rows, mentions=rows, synonyms=rows), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)

    def test_mapped_files_are_read(self, tmp_path):
        np.save(tmp_path / "left.npy", np.array([0, 1]), allow_pickle=False)
        left = np.load(tmp_path / "left.npy", mmap_mode="r", allow_pickle=False)
        mapped = Edges(left, left[::-1], np.ones(2, np.float32))
        graph = adjacency(2, 0, facts=mapped, mentions=edges([]), synonyms=edges([]))
        assert graph.fact.tolist() == [2, 2] and graph.indices.tolist() == [1, 0]

    def test_nothing_at_all_is_a_graph(self):
        graph = adjacency(0, 0, facts=edges([]), mentions=edges([]), synonyms=edges([]))
        assert graph.indptr.tolist() == [0] and len(graph.indices) == 0

    @pytest.mark.parametrize("row", [(0, 3, 1.0), (-1, 2, 1.0)])
    def test_an_edge_to_nowhere_is_refused(self, row):
        with pytest.raises(ValueError, match=r"an edge ends at number -?[13], but there are only 3"):
            adjacency(3, 1, facts=edges([row]), mentions=edges([]), synonyms=edges([]))
