from __future__ import annotations

import numpy as np
import pytest
from dense_data import build, clustered, exact, recall
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mnemodex.indexers.dense import searcher as searcher_module
from mnemodex.indexers.dense import vectors as vectors_module
from mnemodex.indexers.dense.shard import find_ranked

ROWS = 2000
ENGINES = {
    "flat": {"factory": "Flat"},
    "hnsw": {"factory": "HNSW16"},
    "hnsw-l2": {"factory": "HNSW16", "metric": "l2"},
    "ivf": {"factory": "IVF32,Flat"},
    "behind-a-transform": {"factory": "PCA24,IVF32,Flat", "metric": "l2"},
    "refined": {"factory": "IVF32,SQ8,Refine(Flat)"},
    "refined-from-disk": {"factory": "IVF32,RaBitQ", "refine": "auto"},
    "refined-from-disk-without-lists": {"factory": "PQ12x4", "metric": "l2", "refine": 16},
    "no-filter-of-its-own": {"factory": "PQ12x4"},
    "hnswlib": {"engine": "hnswlib"},
}


@pytest.fixture(scope="module")
def matrix():
    return clustered(ROWS)


@pytest.fixture(scope="module", params=ENGINES.values(), ids=ENGINES.keys())
def built(request, matrix, tmp_path_factory):
    return build(tmp_path_factory.mktemp("index"), matrix, sizes=[1200, 800], groups=[[0], [1]], **request.param)


@pytest.mark.parametrize("budget", [0, 50_000], ids=["by-the-index", "within-the-row-budget"])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.3, 1.0])
def test_a_filter_never_costs_hits(built, matrix, monkeypatch, share, budget):
    monkeypatch.setattr(searcher_module, "EXACT_ROWS", budget)
    rng = np.random.default_rng(int(1000 * share))
    kept = np.sort(rng.choice(ROWS, round(share * ROWS), replace=False))
    allowed = np.sort(built.ids[kept])
    queries = clustered(15, seed=3)
    for k in (10, 100):
        scores, ids, _ = built.open().search(queries, k, allowed=allowed)
        matching = min(k, len(allowed))
        assert np.isin(ids[:, :matching], allowed).all()
        assert (ids[:, matching:] == -1).all() and np.isneginf(scores[:, matching:]).all()
        assert all(len(set(row[:matching].tolist())) == matching for row in ids)
        true = exact(matrix[kept], built.ids[kept], queries, k, metric=built.indexer.settings.metric)[1]
        if budget or share <= 0.1:
            assert np.array_equal(ids[:, :matching], true)
        else:
            assert recall(ids, true) > (0.5 if built.indexer.factory == "PQ12x4" else 0.9)


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_reading_vectors_in_small_blocks_changes_nothing(built, matrix, monkeypatch, rows):
    monkeypatch.setattr(vectors_module, "BLOCK_BYTES", rows * 4 * matrix.shape[1])
    queries, allowed = clustered(15, seed=3), np.sort(built.ids[:100])
    _, ids, _ = built.open().search(queries, 30, allowed=allowed)
    assert np.array_equal(
        ids, exact(matrix[:100], built.ids[:100], queries, 30, metric=built.indexer.settings.metric)[1]
    )


def test_ids_that_are_not_in_the_index_are_no_hits(built):
    queries = clustered(4, seed=3)
    unknown = np.array([2, 5, 2**62], dtype=np.int64)
    for allowed in (unknown[:0], unknown, np.arange(1, 2 * ROWS, 2, dtype=np.int64) * 3 + 2**50):
        assert (built.open().search(queries, 5, allowed=allowed)[1] == -1).all()
    mixed = np.sort(np.concatenate([unknown, built.ids[:2]]))
    assert (built.open().search(queries, 5, allowed=mixed)[1] >= 0).sum() == 2 * len(queries)


@given(
    scores=hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 40)), elements=st.integers(0, 3)),
    k=st.integers(1, 45),
    seed=st.integers(0, 100),
)
def test_ties_are_decided_by_id_whatever_an_index_returns_first(scores, k, seed):
    queries, rows = scores.shape
    ids = np.random.default_rng(seed).permutation(rows).astype(np.int64) + 5

    def find(vectors, fetch):
        chosen = scores[vectors[:, 0].astype(int)]
        order = np.argsort(-chosen, axis=1, kind="stable")[:, :fetch]
        return np.take_along_axis(chosen, order, axis=1), order

    numbers = np.arange(queries, dtype=np.float32)[:, None]
    found, found_ids, positions = find_ranked(find, numbers, k, matching=rows, ids=ids)
    order = np.lexsort((np.broadcast_to(ids, scores.shape), -scores), axis=1)[:, :k]
    width = min(k, rows)
    assert np.array_equal(positions[:, :width], order)
    assert np.array_equal(found_ids[:, :width], ids[order])
    assert np.array_equal(found[:, :width], np.take_along_axis(scores, order, axis=1))
    assert (positions[:, width:] == -1).all() and np.isneginf(found[:, width:]).all()
