"""Personalised PageRank against igraph, which HippoRAG walks with, in each of three ways."""

from __future__ import annotations

import igraph
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemodex.indexers.graph.adjacency import Edges, adjacency
from mnemodex.retrievers.graph.ppr import Mass, Walk

NONE = Edges(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))


def walk(nodes, left, right, weights, damping=0.5):
    facts = Edges(np.array(left, np.int32), np.array(right, np.int32), np.array(weights, np.float32))
    joined = adjacency(nodes, 0, facts=facts, mentions=NONE, synonyms=NONE)
    return Walk(joined.indptr, joined.indices, joined.fact, damping=damping)


def by_igraph(nodes, left, right, weights, reset, damping=0.5):
    kept = [place for place in range(len(left)) if left[place] != right[place]]
    graph = igraph.Graph(n=nodes, edges=[(left[place], right[place]) for place in kept])
    return np.array(
        graph.personalized_pagerank(
            damping=damping,
            directed=False,
            weights=[float(weights[place]) for place in kept],
            reset=reset.tolist(),
            implementation="prpack",
        )
    )


def everywhere(mass, nodes):
    found = np.zeros(nodes)
    found[mass.nodes] = mass.values
    return found


def scale_free(nodes, each, seed):
    """Edges of a random graph in which new nodes join those that many have joined; every tenth node stays alone."""
    rng = np.random.default_rng(seed)
    left = np.repeat(np.arange(1, nodes), each)
    right = (left * rng.random(len(left)) ** 3).astype(np.int64)
    keep = (left % 10 > 0) & (right % 10 > 0)
    left, right = left[keep], right[keep]
    return left, right, rng.choice([0.0, 0.8, 1.0, 2.0], len(left)).astype(np.float32)


@st.composite
def graphs(draw):
    nodes = draw(st.integers(1, 7))
    ends = st.integers(0, nodes - 1)
    edges = draw(st.lists(st.tuples(ends, ends, st.sampled_from([0.0, 0.5, 1.0, 3.0])), max_size=12))
    reset = draw(st.lists(st.sampled_from([0.0, 0.25, 1.0, 7.0]), min_size=nodes, max_size=nodes).filter(any))
    left, right, weights = zip(*edges, strict=True) if edges else ((), (), ())
    return nodes, left, right, weights, np.array(reset)


class TestSmallGraphs:
    @given(graph=graphs(), damping=st.sampled_from([0.1, 0.5, 0.85]))
    @settings(max_examples=200, deadline=None)
    def test_exact_is_igraphs(self, graph, damping):
        nodes, left, right, weights, reset = graph
        expected = by_igraph(*graph, damping)
        found = walk(nodes, left, right, weights, damping).exact(reset[None])[0]
        np.testing.assert_allclose(found, expected, atol=1e-9)

    @given(graph=graphs(), damping=st.sampled_from([0.1, 0.5, 0.85]))
    @settings(max_examples=100, deadline=None)
    def test_push_reaches_igraphs_when_nothing_may_be_left(self, graph, damping):
        nodes, left, right, weights, reset = graph
        seeds = Mass(np.flatnonzero(reset), reset[reset > 0])
        (found,) = walk(nodes, left, right, weights, damping).push([seeds], epsilon=1e-11)
        np.testing.assert_allclose(everywhere(found, nodes), by_igraph(*graph, damping), atol=1e-8)


NODES = 3000


@pytest.fixture(scope="module")
def edges():
    return scale_free(NODES, 3, 0)


@pytest.fixture(scope="module")
def resets():
    rng = np.random.default_rng(1)
    return rng.random((20, NODES)) * (rng.random((20, NODES)) < 0.02)


@pytest.fixture(scope="module")
def expected(edges, resets):
    return np.array([by_igraph(NODES, *edges, reset) for reset in resets])


class TestLargerGraphs:
    def test_exact_is_igraphs(self, edges, resets, expected):
        np.testing.assert_allclose(walk(NODES, *edges).exact(resets), expected, atol=1e-9)

    def test_batched_is_near(self, edges, resets, expected):
        found = walk(NODES, *edges).batched(resets.astype(np.float32))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-6)

    def test_push_leaves_little(self, edges, resets, expected):
        seeds = [Mass(np.flatnonzero(reset), reset[reset > 0]) for reset in resets]
        found = walk(NODES, *edges).push(seeds)
        for mass, probabilities in zip(found, expected, strict=True):
            assert np.abs(everywhere(mass, NODES) - probabilities).sum() < 0.01

    def test_push_stays_near_its_seeds(self, edges):
        (found,) = walk(NODES, *edges).push([Mass(np.array([2999]), np.array([1.0]))], epsilon=1e-2)
        assert 2999 in found.nodes and len(found.nodes) < 100
        assert found.values.sum() == pytest.approx(1)


class TestEdgesOfTheMatter:
    def test_a_reset_of_zeros_goes_nowhere(self):
        alone = walk(3, [0], [1], [1.0])
        assert not alone.exact(np.zeros((1, 3))).any() and not alone.batched(np.zeros((1, 3), np.float32)).any()
        assert len(alone.push([Mass(np.zeros(0, np.int64), np.zeros(0))])[0].nodes) == 0

    def test_no_question_and_no_node_are_answered(self):
        nothing = walk(0, [], [], [])
        assert nothing.exact(np.zeros((2, 0))).shape == (2, 0) and nothing.push([]) == []
        assert [len(mass.nodes) for mass in nothing.push([Mass(np.zeros(0, np.int64), np.zeros(0))])] == [0]

    def test_a_mapped_graph_is_walked_on(self, tmp_path):
        graph = adjacency(
            3, 0, facts=Edges(np.array([0]), np.array([1]), np.ones(1, np.float32)), mentions=NONE, synonyms=NONE
        )
        arrays = (graph.indptr, graph.indices, graph.fact)
        for number, array in enumerate(arrays):
            np.save(tmp_path / f"{number}.npy", array, allow_pickle=False)
        mapped = [np.load(tmp_path / f"{number}.npy", mmap_mode="r", allow_pickle=False) for number in range(3)]
        np.testing.assert_array_equal(Walk(*mapped).exact(np.eye(3)), Walk(*arrays).exact(np.eye(3)))
