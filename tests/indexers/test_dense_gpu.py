from __future__ import annotations

import faiss
import numpy as np
import pytest
from dense_data import build, clustered

from mnemodex.indexers.dense.devices import to_gpu


def test_without_a_gpu_an_index_stays_where_it_is(monkeypatch):
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    index = faiss.IndexFlatL2(4)
    assert to_gpu(index) is index


@pytest.mark.skipif(not hasattr(faiss, "GpuMultipleClonerOptions"), reason="this build of FAISS knows no GPUs")
@pytest.mark.parametrize(
    "settings",
    [
        {"factory": "IVF16,Flat"},
        {"factory": "PCA20,IVF16,SQ8", "metric": "l2"},
        {"factory": "IVF16_HNSW8,SQ8"},
        {"factory": "HNSW8", "order": "cluster"},
        {"factory": "HNSW8", "order": "lid_desc"},
    ],
    ids=lambda settings: settings["factory"],
)
def test_what_is_built_with_a_gpu_answers_as_without(tmp_path, monkeypatch, settings):
    """The GPU is played by a copy of the index on the CPU, so what is tried is how indexes go there and come back."""
    matrix, queries = clustered(1200), clustered(30, seed=2)
    plain = build(tmp_path / "plain", matrix, sizes=[500, 700], groups=[[0], [1]], **settings)
    copied = []

    def copy(index, **_options):
        copied.append(faiss.clone_index(index))
        return copied[-1]

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", copy)
    on_gpu = build(tmp_path / "gpu", matrix, sizes=[500, 700], groups=[[0], [1]], **settings)
    assert copied
    if settings["factory"] == "IVF16,Flat":
        assert any(index.ntotal == 16 for index in copied), "the centroids were not brought to the GPU"
    for found, expected in zip(
        on_gpu.open(8).search(queries, 10)[:2], plain.open(8).search(queries, 10)[:2], strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.gpu
def test_a_real_gpu_gives_the_same_recall(tmp_path):
    if not faiss.get_num_gpus():
        pytest.skip("no GPU")
    matrix = clustered(20_000, 64)
    for name, settings in {
        "ivf": {"factory": "IVF128,Flat"},
        "hnsw": {"factory": "HNSW16", "order": "lid_desc"},
    }.items():
        built = build(tmp_path / name, matrix, sizes=[10_000, 10_000], groups=[[0], [1]], **settings)
        assert built.indexer.measure(built.shards).recall.reached
