"""Lists of edges are merged as by a dictionary."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mnemodex.indexers.graph.edge_lists import EdgeList, merge

NUMBERS = st.integers(0, 3)
EDGES = st.dictionaries(st.tuples(NUMBERS, NUMBERS, st.integers(0, 2)), st.integers(1, 5), max_size=20)


def listed(edges: dict[tuple[int, int, int], int]) -> EdgeList:
    source, target, kind = np.array(sorted(edges), np.int64).reshape(-1, 3).T.copy()
    return EdgeList(source, target, kind.astype(np.int8), np.array([edges[key] for key in sorted(edges)], np.float32))


@given(one=EDGES, other=EDGES)
def test_edges_of_both_are_there_once_in_order_with_the_sum_of_their_weights(one, other):
    expected = {key: one.get(key, 0) + other.get(key, 0) for key in one.keys() | other.keys()}
    merged = merge(listed(one), listed(other))
    assert [column.dtype for column in merged] == [np.int64, np.int64, np.int8, np.float32]
    assert [column.tolist() for column in merged] == [column.tolist() for column in listed(expected)]
