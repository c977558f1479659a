"""Nearest vectors block by block: what one sort of all scores finds."""

from __future__ import annotations

import numpy as np
from graph_space import nearest
from hypothesis import given
from hypothesis import strategies as st

from mnemodex.retrievers.graph import nearest as module


@given(rows=st.integers(1, 30), k=st.integers(1, 8), block=st.integers(1, 9), seed=st.integers(0, 100))
def test_they_are_the_best_and_of_equals_the_first(rows, k, block, seed):
    rng = np.random.default_rng(seed)
    # Whole numbers, so that many scores are equal and none is rounded.
    vectors, matrix = (rng.integers(-2, 3, (count, 3)).astype(np.float32) for count in (4, rows))
    module._BLOCK, before = block, module._BLOCK
    try:
        found = nearest(vectors, matrix, k)
    finally:
        module._BLOCK = before
    scores = vectors @ matrix.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(found.rows, order)
    np.testing.assert_array_equal(found.scores, np.take_along_axis(scores, order, axis=1))
    np.testing.assert_array_equal(found.least, scores.min(axis=1))


def test_there_is_nothing_near_in_an_empty_matrix():
    found = nearest(np.ones((2, 3), np.float32), np.zeros((0, 3), np.float32), 5)
    assert found.rows.shape == found.scores.shape == (2, 0)
