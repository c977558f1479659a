"""The next-token datastore: the tokens that came next stay with their keys."""

from __future__ import annotations

import numpy as np
import pytest
from dense_data import chunk_ids, clustered
from state_data import state_partitions, values

from mnemodex.indexers.dense.devices import set_threads
from mnemodex.indexers.dense.probe import Probe
from mnemodex.indexers.knn_lm import KnnLmIndexer, distance_scale
from mnemodex.indexers.rows import Rows
from mnemodex.indexers.vector_settings import KnnLmSettings

ROWS, DIMENSION = 600, 16


def built(folder, factory, groups):
    set_threads(1)
    matrix = clustered(ROWS, DIMENSION)
    parts = state_partitions(folder / "table", matrix, [200, 0, 150, 250], positions=chunk_ids(ROWS))
    indexer = KnnLmIndexer(KnnLmSettings(lm="m", factory=factory), ROWS, DIMENSION)
    extras = {}
    if indexer.needs_training:
        extras["trained"] = folder / "trained"
        extras["trained"].mkdir()
        indexer.train(parts, extras["trained"])
    shards = []
    for number, group in enumerate(groups):
        shards.append(folder / f"shard{number}")
        shards[-1].mkdir()
        indexer.build([parts[place] for place in group], shards[-1], **extras)
    return indexer, shards


@pytest.mark.parametrize("factory", ["Flat", "HNSW8", "IVF4,SQfp16", "IVF4,PQ4x4"])
@pytest.mark.parametrize("groups", [[[0, 1, 2, 3]], [[0, 1], [2, 3]]])
def test_every_token_stands_where_its_key_stands(tmp_path, factory, groups):
    indexer, shards = built(tmp_path, factory, groups)
    seen = []
    for shard in shards:
        positions = Rows.open(shard, id_column="position").ids
        stored = np.load(shard / "values.npy", allow_pickle=False)
        assert np.array_equal(stored, values(positions)) and stored.dtype == np.int32
        seen += positions.tolist()
    assert sorted(seen) == sorted(chunk_ids(ROWS).tolist())
    measured = indexer.measure(shards)
    assert measured.search.scale > 0 and measured.recall.recall > 0.5


def _probe(exact_scores) -> Probe:
    """Return a probe of which only the exact scores are looked at."""
    found = np.zeros((1, len(exact_scores), 3))
    once = np.zeros(1, np.int64)
    return Probe(
        origin="queries",
        parameter=None,
        limit=0,
        values=once,
        exact_ids=found[0],
        exact_scores=exact_scores,
        found_ids=found,
        found_scores=found,
        true_scores=found,
        refines=once,
        comparisons=once.astype(float),
    )


def test_the_scale_is_how_distances_of_neighbours_differ():
    scores = -np.array([[1.0, 2.0, 4.0], [0.0, 0.0, np.inf], [10.0, 11.0, 15.0], [3.0, 3.0, 3.0]])
    assert distance_scale(_probe(scores)) == pytest.approx(4.0 / 3), "of 3 and 5: the others have no difference"


@pytest.mark.parametrize("scores", [np.zeros((2, 3)), np.zeros((0, 3)), np.full((2, 3), -np.inf)])
def test_without_differences_the_scale_is_one(scores):
    assert distance_scale(_probe(scores)) == 1.0
