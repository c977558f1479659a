"""Real vectors with known neighbours, where they are at hand."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from dense_data import build, recall

SIFT = Path(__file__).parents[3] / "shared" / "data" / "sift5k"

pytestmark = pytest.mark.skipif(not SIFT.is_dir(), reason="the SIFT vectors are not here")


def load(name):
    with gzip.open(SIFT / f"{name}.npy.gz") as file:
        return np.load(file, allow_pickle=False)


@pytest.mark.parametrize(
    "settings",
    [{"factory": "Flat"}, {"factory": "HNSW16"}, {"factory": "IVF64,Flat"}, {"engine": "hnswlib", "order": "lid_desc"}],
    ids=["flat", "hnsw", "ivf", "hnswlib"],
)
def test_the_target_recall_holds_for_queries_that_were_not_measured(tmp_path, settings):
    base, queries = load("base").astype(np.float32), load("queries").astype(np.float32)
    truth = load("groundtruth_l2")[:, :10]
    ids = np.arange(len(base), dtype=np.int64)
    built = build(tmp_path, base, sizes=[2450, 2450], groups=[[0], [1]], ids=ids, metric="l2", **settings)
    measured = built.indexer.measure(built.shards).recall
    assert measured.reached
    scores, found, _ = built.open().search(queries, 10)
    assert recall(found, truth) >= (1 if settings.get("factory") == "Flat" else 0.95)
    expected = -((base[found[:, 0]] - queries) ** 2).sum(axis=1)
    np.testing.assert_allclose(scores[:, 0], expected, rtol=1e-4)
