"""What every retriever promises: the indexes it is tried on, the questions, and what holds of all answers."""

from __future__ import annotations

import numpy as np

CASES = {
    "dense-flat": "flat",
    "dense-hnsw": "hnsw",
    "dense-ivf": "ivf",
    "dense-hnswlib": "hnswlib",
    "bm25": "words",
    "hybrid": "both",
}
"""An index of the library for each kind of retriever: a new type is one line here, and one in `LIBRARY_INDEXES`."""

QUESTIONS = [
    "Who winds the clockwork of the lamp?",
    "apples in straw",
    "Где маяк?",
    "港の灯台",
    "السفن",
    "पुस्तकालय",
    "",
    "xyzzy",
    "two notes say the very same thing",
]


def assert_sound(hits, *, queries, k, matching):
    """What holds of every answer: shapes, types, order, uniqueness, and missing places at the end only."""
    assert hits.ids.shape == hits.scores.shape == hits.partition.shape == hits.row.shape == (queries, k)
    assert (hits.ids.dtype, hits.scores.dtype) == (np.int64, np.float32)
    assert (hits.partition.dtype, hits.row.dtype) == (np.int32, np.int64)
    found = min(k, matching)
    assert (hits.ids[:, :found] >= 0).all() and np.isfinite(hits.scores[:, :found]).all()
    assert (hits.ids[:, found:] == -1).all() and np.isneginf(hits.scores[:, found:]).all()
    assert (hits.partition[:, found:] == -1).all() and (hits.row[:, found:] == -1).all()
    for ids, scores in zip(hits.ids[:, :found], hits.scores[:, :found], strict=True):
        assert len(set(ids.tolist())) == found
        assert np.array_equal(np.lexsort((ids, -scores)), np.arange(found)), "by score, and equal scores by id"
