from __future__ import annotations

import faiss
import numpy as np
import pytest
from dense_data import build, clustered, exact, recall

from mnemodex.indexers.dense.budget import index_bytes
from mnemodex.indexers.dense.factory import make_index
from mnemodex.indexers.dense.indexer import DenseIndexer
from mnemodex.indexers.dense.probe import REFINES, Probe, choose
from mnemodex.indexers.vector_settings import DenseSettings
from mnemodex.schemas.errors import RecipeError

ROWS, DIMENSION = 4000, 64
CODES = [{"factory": "IVF32,RaBitQ"}, {"factory": "IVF32,PQ16"}, {"factory": "RaBitQ2"}, {"factory": "HNSW16_SQ4"}]


@pytest.fixture(scope="module")
def matrix():
    return clustered(ROWS, DIMENSION)


@pytest.fixture(scope="module")
def questions():
    return clustered(200, DIMENSION, seed=4)


@pytest.mark.parametrize("settings", CODES)
@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_hits_that_codes_only_estimate_are_compared_by_their_vectors(tmp_path, matrix, questions, settings, metric):
    built = build(tmp_path, matrix, sizes=[2500, 1500], groups=[[0], [1]], refine="auto", metric=metric, **settings)
    measured = built.indexer.measure(built.shards)
    assert measured.recall.reached and measured.search.refine == measured.recall.refine
    assert measured.search.refine in REFINES
    true_scores, true = exact(matrix, built.ids, questions, 10, metric=metric)
    scores, ids, _ = built.open().search(questions, 10)
    assert recall(ids, true) > 0.95 - 0.02
    same = ids == true
    assert np.allclose(scores[same], true_scores[same], atol=1e-6)


def test_refining_finds_what_codes_alone_miss(tmp_path, matrix, questions):
    true = exact(matrix, chunk_ids := build(tmp_path, matrix, factory="Flat").ids, questions, 10)[1]
    found = {}
    for refine in (None, 1, 16):
        built = build(tmp_path / str(refine), matrix, factory="RaBitQ", ids=chunk_ids, refine=refine)
        assert built.indexer.measure(built.shards).search.refine == refine
        found[refine] = recall(built.open().search(questions, 10)[1], true)
    assert found[None] <= found[1] and found[16] > found[1] + 0.1


def test_recall_of_refined_shards_is_what_searching_them_gives(tmp_path, matrix, questions):
    settings = {"factory": "IVF32,RaBitQ", "refine": 4, "probes": questions}
    built = build(tmp_path, matrix, sizes=[1500, 1000, 1500], groups=[[0], [1], [2]], **settings)
    measured = built.indexer.measure(built.shards).recall
    true = exact(matrix, built.ids, questions, 10)[1]
    for value, promised in measured.curve.items():
        assert recall(built.open(value).search(questions, 10)[1], true) == pytest.approx(promised, abs=0.005)


def test_deleted_rows_take_no_places_of_refined_hits(tmp_path, matrix, questions):
    built = build(tmp_path, matrix, factory="IVF32,RaBitQ", refine=16)
    dead = np.random.default_rng(3).random(ROWS) < 0.3
    searcher = built.open(32)
    files = built.parts[0].files["npy"]
    masked = type(searcher)(
        built.shards, 32, vectors=lambda _: files, refine=16, masked=lambda ids: np.isin(ids, built.ids[dead])
    )
    true = exact(matrix[~dead], built.ids[~dead], questions, 10)[1]
    ids = masked.search(questions, 10)[1]
    assert not np.isin(ids, built.ids[dead]).any()
    assert recall(ids, true) > 0.97


def test_the_cheapest_try_that_reaches_the_target_is_taken():
    probes, values, refines = 200, np.array([1, 1, 8, 8]), np.array([2, 16, 2, 16])
    right, wrong = np.tile(np.arange(10), (probes, 1)), np.full((probes, 10), 99)
    score = lambda ids: -ids.astype(float)  # noqa: E731
    found = np.stack([wrong, right, right, right])
    tries = (values, right, score(right), found, score(found).astype(np.float32), score(found), refines)
    for rows, expected in ((1_000, (8, 2)), (10**6, (1, 16))):
        probe = Probe("queries", "nprobe", 64, *tries, rows * values / 64)
        recall_ = choose(probe, 0.9).recall
        assert (recall_.value, recall_.refine) == expected and recall_.reached
        assert list(recall_.curve) == [1, 8]


@pytest.mark.parametrize(("origin", "expected"), [("queries", (8, 1)), ("held-out rows", (16, 2))])
def test_the_factor_is_doubled_where_it_alone_was_tuned_with_held_out_rows(origin, expected):
    probes, refines = 200, np.array([2, 4, 8, 16])
    right, wrong = np.tile(np.arange(10), (probes, 1)), np.full((probes, 10), 99)
    score = lambda ids: -ids.astype(float)  # noqa: E731
    found = np.stack([wrong, wrong, right, right])
    tries = (np.zeros(4, int), right, score(right), found, score(found).astype(np.float32), score(found), refines)
    chosen = choose(Probe(origin, None, 4096, *tries, np.full(4, 1000.0)), 0.9).recall
    assert (chosen.refine, chosen.margin) == expected and chosen.value is None


def test_a_probe_of_a_former_version_refined_nothing(tmp_path, matrix):
    built = build(tmp_path, matrix[:500], factory="IVF4,SQ8")
    probe = Probe.load(built.shards[0])
    with np.load(built.shards[0] / "probe.npz") as arrays:
        former = {name: arrays[name] for name in arrays.files if name not in {"refines", "comparisons"}}
    np.savez(tmp_path / "probe.npz", **former)
    old = Probe.load(tmp_path)
    assert not old.refines.any()
    assert choose(old, 0.9) == choose(probe, 0.9)


@pytest.mark.parametrize(
    ("rows", "budget", "expected"),
    [
        (1000, 10**9, ("Flat", False)),
        (50_000, 10**8, ("HNSW32", False)),
        (50_000, 25_000_000, ("IVF256,SQ8", True)),
        (50_000, 9_600_000, ("IVF256,RaBitQ2", True)),
        (50_000, 4_000_000, ("IVF256,RaBitQ", True)),
        (50_000, 2_500_000, ("IVF256,PQ24", True)),
        (10**8, 10**10, ("IVF65536_HNSW32,RaBitQ", True)),
    ],
)
def test_the_longest_codes_that_fit_the_budget_are_taken(rows, budget, expected):
    indexer = DenseIndexer(DenseSettings(memory_budget=budget), rows, 384)
    assert (indexer.factory, indexer.refine) == (expected[0], "auto" if expected[1] else None)
    assert index_bytes(expected[0], rows, 384, "ip", indexer.shard_rows) <= budget


def test_shards_of_codes_have_the_bytes_of_a_million_vectors_unless_the_recipe_says_how_many_rows():
    budget = {"memory_budget": 12 * 10**9}
    indexer = DenseIndexer(DenseSettings(**budget), 10**8, 384)
    assert indexer.factory == "IVF65536_HNSW32,RaBitQ" and indexer.shard_rows == 24_000_000
    assert DenseIndexer(DenseSettings(**budget), 1000, 384).shard_rows == 1_000_000
    # Fifty shards have the centroids of fifty.
    with pytest.raises(RecipeError, match="at least"):
        DenseIndexer(DenseSettings(**budget, shard_rows=500_000), 10**8, 384)
    assert DenseIndexer(DenseSettings(memory_budget=10**11, shard_rows=500_000), 10**8, 384).shard_rows == 500_000


def test_a_budget_that_nothing_fits_is_refused():
    with pytest.raises(RecipeError, match=r"1,000,000 vectors of 384 dimensions takes .* at least \(IVF2048,PQ24\)"):
        DenseIndexer(DenseSettings(memory_budget="10MB"), 1_000_000, 384)


@pytest.mark.parametrize("factory", ["Flat", "IVF64,Flat"])
def test_refining_by_the_same_vectors_is_refused(factory):
    with pytest.raises(RecipeError, match="holds the vectors themselves"):
        DenseIndexer(DenseSettings(factory=factory, refine=4), 1000, 24)


@pytest.mark.parametrize("factory", ["Flat", "HNSW32", "IVF32,RaBitQ"])
def test_the_size_is_what_faiss_writes(tmp_path, matrix, factory):
    built = build(tmp_path, matrix, factory=factory)
    assert (built.shards[0] / "index.faiss").stat().st_size == pytest.approx(
        index_bytes(factory, ROWS, DIMENSION, "ip", ROWS), rel=0.05
    )


@pytest.mark.parametrize("metric", ["ip", "l2"])
@pytest.mark.parametrize("factory", ["Flat", "IVF4,SQ8", "IVF4_HNSW32,SQ8", "IVF16,RaBitQ4", "IVF16,RaBitQ"])
def test_a_small_index_takes_no_more_than_was_promised(matrix, factory, metric):
    index = make_index(factory, DIMENSION, metric)
    rows = matrix[:20]
    index.train(rows)
    index.add(rows)
    assert len(faiss.serialize_index(index)) <= index_bytes(factory, len(rows), DIMENSION, metric, ROWS)


def test_settings_that_refine_nothing_have_the_identity_of_former_versions():
    plain = DenseIndexer(DenseSettings(), 1000, 24)
    for step in ("train", "build", "measure"):
        assert {"refine", "memory_budget"}.isdisjoint(plain.identity(step, str))
    within = DenseIndexer(DenseSettings(memory_budget="1GB"), 1000, 24)
    assert within.identity("build", str) == plain.identity("build", str)
    refined = DenseIndexer(DenseSettings(memory_budget="9.6MB"), 50_000, 384)
    named = DenseIndexer(DenseSettings(factory="IVF256,RaBitQ2", refine="auto"), 50_000, 384)
    assert refined.identity("build", str) == named.identity("build", str) != plain.identity("build", str)
