"""An index over questions: true inner products at every precision, also of vectors of unequal lengths."""

from __future__ import annotations

import numpy as np
import pytest
from dense_data import clustered, partitions

from mnemodex.indexers.dense.devices import set_threads
from mnemodex.indexers.dense.searcher import DenseSearcher
from mnemodex.indexers.pair_settings import QASettings
from mnemodex.indexers.qa import QAIndexer

ROWS, DIMENSION, SPREAD = 4000, 64, 0.1


def vectors(rows, seed):
    rng = np.random.default_rng(seed)
    return clustered(rows, DIMENSION, seed=seed) * rng.normal(1, SPREAD, (rows, 1)).astype(np.float32)


@pytest.mark.parametrize("factory", ["Flat", "SQ8", "HNSW32_SQ8"])
def test_recall_against_exact_inner_products_with_a_norm_spread_of_a_tenth(tmp_path, factory):
    set_threads(1)
    keys, queries = vectors(ROWS, 0), vectors(200, 1)
    parts = partitions(tmp_path / "table", keys, [ROWS], of="questions")
    settings = QASettings(embed="e", factory=factory, target_recall=0.98)
    indexer = QAIndexer(settings, ROWS, DIMENSION)
    extras = {}
    if indexer.needs_training:
        extras["trained"] = tmp_path / "trained"
        extras["trained"].mkdir()
        indexer.train(parts, extras["trained"])
    shard = tmp_path / "shard"
    shard.mkdir()
    indexer.build(parts, shard, **extras)
    value = indexer.measure([shard]).search.value
    searcher = DenseSearcher([shard], value, vectors=lambda label: parts[0].files["npy"])
    scores, ids, _ = searcher.search(queries, 10)
    exact = queries @ keys.T
    nearest = np.argsort(-exact, axis=1)[:, :10]
    by_row = {row: number for number, row in enumerate(np.load(shard / "question_ids.npy").tolist())}
    order = np.load(shard / "row.npy")
    found = np.vectorize(lambda one: order[by_row[one]])(ids)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), nearest.tolist(), strict=True)])
    assert recall >= 0.98
    np.testing.assert_allclose(scores, np.take_along_axis(exact, found, axis=1), atol=0.02)
