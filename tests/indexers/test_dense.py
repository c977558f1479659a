from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from dense_data import build, chunk_ids, clustered, exact, recall

from mnemodex.indexers.dense.devices import set_threads, use_threads
from mnemodex.indexers.dense.indexer import DenseIndexer
from mnemodex.indexers.dense.searcher import DenseSearcher
from mnemodex.indexers.vector_settings import DenseSettings
from mnemodex.schemas.errors import CorruptFileError, NotFiniteError, QueryError, RecipeError

ROWS = 2000
SIZES = [800, 0, 1200]


@pytest.fixture(scope="module")
def matrix():
    return clustered(ROWS)


@pytest.fixture(scope="module")
def queries():
    return clustered(50, seed=5)


@pytest.mark.parametrize("metric", ["ip", "l2"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_flat_index_answers_as_numpy_does(tmp_path, matrix, queries, metric, dtype):
    stored = matrix.astype(dtype)
    built = build(tmp_path, stored, sizes=SIZES, factory="Flat", metric=metric)
    scores, ids, _ = built.open().search(queries, 12)
    expected, expected_ids = exact(stored, built.ids, queries, 12, metric=metric)
    assert np.array_equal(ids, expected_ids)
    np.testing.assert_allclose(scores, expected, atol=2e-6)
    assert scores.dtype == np.float32


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"factory": "HNSW16"}, id="hnsw"),
        pytest.param({"factory": "HNSW16,SQ8", "metric": "l2"}, id="hnsw-codes-l2"),
        pytest.param({"factory": "IVF32,Flat"}, id="ivf"),
        pytest.param({"factory": "IVF32_HNSW8,SQ8", "metric": "l2"}, id="ivf-as-auto-builds-it"),
        pytest.param({"factory": "PCA22,IVF32,Flat", "metric": "l2"}, id="behind-a-transform"),
        pytest.param({"factory": "IVF32,SQ4,Refine(Flat)"}, id="refined"),
        pytest.param({"engine": "hnswlib"}, id="hnswlib"),
        pytest.param({"engine": "hnswlib", "metric": "l2", "order": "lid_desc"}, id="hnswlib-l2"),
    ],
)
@pytest.mark.parametrize("with_queries", [True, False])
def test_other_queries_than_those_measured_reach_the_target(tmp_path, matrix, queries, settings, with_queries):
    probes = clustered(200, seed=9) if with_queries else None
    built = build(tmp_path, matrix, sizes=[1000, 1000], groups=[[0], [1]], probes=probes, **settings)
    measured = built.indexer.measure(built.shards).recall
    assert measured.reached
    assert measured.source == ("queries" if with_queries else "held-out rows")
    _, ids, _ = built.open().search(queries, 10)
    true = exact(matrix, built.ids, queries, 10, metric=built.indexer.settings.metric)[1]
    assert recall(ids, true) >= 0.95 - 0.03
    assert abs(recall(ids, true) - measured.recall) < 0.04


@pytest.mark.parametrize("settings", [{"factory": "Flat"}, {"factory": "IVF16,Flat"}], ids=["flat", "ivf"])
def test_shards_answer_as_one_index(tmp_path, matrix, queries, settings):
    sizes = [500, 700, 800]
    one = build(tmp_path / "one", matrix, sizes=sizes, **settings)
    three = build(tmp_path / "three", matrix, sizes=sizes, groups=[[0], [1], [2]], **settings)
    for found, expected in zip(three.open(4).search(queries, 20)[:2], one.open(4).search(queries, 20)[:2], strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("settings", [{"factory": "HNSW8"}, {"factory": "IVF8,Flat"}, {"engine": "hnswlib"}])
def test_a_hit_knows_the_partition_and_row_of_its_vector(tmp_path, matrix, settings):
    built = build(tmp_path, matrix, sizes=SIZES, groups=[[0, 1], [2]], order="shuffle", **settings)
    searcher = built.open(64)
    _, ids, numbers = searcher.search(matrix[::40], 1)
    assert np.array_equal(ids[:, 0], built.ids[::40])
    rows = searcher.rows.at(numbers)
    starts = np.cumsum([0, *SIZES])
    labels = [rows.labels[number] for number in rows.partition[:, 0]]
    assert [starts[int(label[1:])] + r for label, r in zip(labels, rows.row[:, 0], strict=True)] == list(
        range(0, ROWS, 40)
    )
    assert np.array_equal(rows.ids, ids) and rows.partition.dtype == np.int32


@pytest.mark.parametrize(
    "settings", [{"factory": "HNSW8", "order": "cluster"}, {"factory": "IVF8,Flat"}, {"engine": "hnswlib"}]
)
def test_the_same_input_gives_the_same_rows_at_the_same_positions(tmp_path, matrix, settings):
    first, second = (build(tmp_path / name, matrix, sizes=SIZES, **settings) for name in "ab")
    for name in ("chunk_ids.npy", "partition.npy", "row.npy", "by_chunk.npy", "shard.json"):
        assert (first.shards[0] / name).read_bytes() == (second.shards[0] / name).read_bytes(), name


@pytest.mark.parametrize("settings", [{"factory": "Flat"}, {"factory": "HNSW8"}, {"engine": "hnswlib"}])
def test_equal_scores_are_ordered_by_id_also_at_the_last_place(tmp_path, matrix, settings):
    copies = np.concatenate([np.repeat(matrix[:1], 60, axis=0), matrix[:200]])
    built = build(tmp_path, copies, sizes=[100, 160], groups=[[0], [1]], **settings)
    _, ids, _ = built.open(128).search(matrix[:1], 7)
    alike = np.sort(np.concatenate([built.ids[:60], built.ids[60:61]]))
    assert np.array_equal(ids[0], alike[:7])


@pytest.mark.parametrize(
    "settings", [{"factory": "HNSW4"}, {"factory": "IVF16,Flat"}, {"engine": "hnswlib", "m": 2, "ef_construction": 4}]
)
def test_every_row_is_found_when_all_are_asked_for(tmp_path, matrix, settings):
    """Many copies of one vector cut a graph in two, and one list holds few rows; neither may cost hits."""
    copies = np.concatenate([np.repeat(matrix[:1], 400, axis=0), matrix[:300]])
    built = build(tmp_path, copies, **settings)
    _, ids, _ = built.open(1).search(matrix[:3], 600)
    assert all(len(np.unique(row[row >= 0])) == 600 for row in ids)


@pytest.mark.parametrize(
    "settings", [{"factory": "Flat"}, {"factory": "HNSW8"}, {"factory": "IVF4,Flat"}, {"engine": "hnswlib"}]
)
@pytest.mark.parametrize("rows", [0, 1, 7])
def test_tiny_shards_and_missing_places(tmp_path, matrix, settings, rows):
    big = matrix[:400]
    built = build(tmp_path, big, sizes=[400 - rows, rows], groups=[[0], [1]], **settings)
    scores, ids, numbers = built.open(8).search(big[:3], 500)
    assert (np.sort(ids[:, :400]) == np.sort(built.ids)).all()
    assert (ids[:, 400:] == -1).all() and np.isneginf(scores[:, 400:]).all()
    assert (numbers[:, 400:] == -1).all() and (built.open(8).rows.at(numbers).row[:, 400:] == -1).all()


@pytest.mark.parametrize("settings", [{"factory": "HNSW8"}, {"factory": "IVF16,Flat"}, {"engine": "hnswlib"}])
def test_without_a_measured_parameter_the_search_is_thorough(tmp_path, matrix, queries, settings):
    built = build(tmp_path, matrix, **settings)
    searcher = DenseSearcher(built.shards, None, vectors={"p0": built.parts[0].files["npy"]}.__getitem__)
    true = exact(matrix, built.ids, queries, 10)[1]
    assert recall(searcher.search(queries, 10)[1], true) > 0.99
    assert recall(searcher.search(queries, 10, allowed=np.sort(built.ids))[1], true) > 0.99


def test_no_queries_give_no_answers(tmp_path, matrix):
    searcher = build(tmp_path, matrix[:100]).open()
    assert [array.shape for array in searcher.search(matrix[:0], 5)] == [(0, 5)] * 3


def test_a_query_that_cannot_be_answered_says_why(tmp_path, matrix):
    searcher = build(tmp_path, matrix[:100]).open()
    with pytest.raises(QueryError, match=r"24 dimensions"):
        searcher.search(np.zeros((2, 5), np.float32), 3)
    broken = matrix[:4].copy()
    broken[2, 3] = np.nan
    with pytest.raises(QueryError, match="query 2"):
        searcher.search(broken, 3)
    with pytest.raises(QueryError, match="k is 0"):
        searcher.search(matrix[:4], 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("settings", [{"factory": "Flat"}, {"engine": "hnswlib"}, {"factory": "IVF4,Flat"}])
def test_a_vector_that_is_not_finite_is_named(tmp_path, matrix, settings, value):
    broken = matrix[:300].copy()
    broken[217, 3] = value
    with pytest.raises(NotFiniteError, match="p1, row 117"):
        build(tmp_path, broken, sizes=[100, 200], **settings)


def test_partitions_whose_files_do_not_belong_together_are_refused(tmp_path, matrix):
    built = build(tmp_path, matrix[:100], sizes=[40, 60])
    np.save(built.parts[1].files["npy"], matrix[:59])
    out = tmp_path / "again"
    out.mkdir()
    with pytest.raises(CorruptFileError, match="59 vectors, but the partition has 60"):
        built.indexer.build(built.parts, out)
    np.save(built.parts[1].files["npy"], matrix[:60, :5])
    with pytest.raises(CorruptFileError, match=r"shape \(rows, 24\)"):
        built.indexer.build(built.parts, out)


@pytest.mark.parametrize(
    ("settings", "file"), [({"factory": "HNSW8"}, "index.faiss"), ({"engine": "hnswlib"}, "index.hnsw")]
)
def test_an_index_that_disagrees_with_its_header_is_not_opened(tmp_path, matrix, settings, file):
    built = build(tmp_path / "a", matrix[:300], **settings)
    shard, header = built.shards[0], (built.shards[0] / "shard.json").read_text()
    other = build(tmp_path / "b", matrix[:200], **settings).shards[0]
    for text, reason in (
        (header.replace('"rows":300', '"rows":301').replace('"rows": 300', '"rows": 301'), "301"),
        (header.replace("24", "12"), "dimensions"),
        ("{}", r"shard\.json"),
    ):
        (shard / "shard.json").write_text(text)
        with pytest.raises(CorruptFileError, match=reason):
            built.open(16)
    (shard / "shard.json").write_text(header)
    whole = (shard / file).read_bytes()
    (shard / file).write_bytes((other / file).read_bytes())
    with pytest.raises(CorruptFileError, match="200"):
        built.open(16)
    (shard / file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptFileError, match=file):
        built.open(16)


def test_vectors_that_are_not_those_of_the_index_are_refused(tmp_path, matrix):
    built = build(tmp_path, matrix[:300], factory="HNSW8")
    searcher = built.open(16)
    np.save(built.parts[0].files["npy"], matrix[:299])
    with pytest.raises(CorruptFileError, match="299"):
        searcher.search(matrix[:1], 3, allowed=np.sort(built.ids[:10]))


@pytest.mark.parametrize("settings", [{"factory": "HNSW8"}, {"factory": "IVF16,Flat"}, {"engine": "hnswlib"}])
def test_threads_with_different_parameters_do_not_disturb_each_other(tmp_path, matrix, queries, settings):
    built = build(tmp_path, matrix, **settings)
    searchers = [built.open(value) for value in (1, 12, 100)]
    expected = [searcher.search(queries, 10)[1] for searcher in searchers]
    jobs = [(number % 3) for number in range(24)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: searchers[number].search(queries, 10)[1], jobs))
    for number, ids in zip(jobs, found, strict=True):
        assert np.array_equal(ids, expected[number])


def test_the_number_of_threads_reaches_threads_that_start_later():
    before = use_threads()
    set_threads(1)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(use_threads).result() == 1
    set_threads(before)
    with pytest.raises(ValueError, match="at least one"):
        set_threads(0)


def test_training_takes_the_sample_from_everywhere(tmp_path, matrix):
    """The rows are sorted by place: centroids from the first rows would leave all others in a single list."""
    import faiss

    grown = matrix + np.arange(ROWS)[:, None].astype(np.float32)
    built = build(tmp_path, grown, sizes=[500] * 4, factory="IVF16,Flat", metric="l2")
    index = faiss.read_index(str(built.shards[0] / "index.faiss"))
    assert max(index.invlists.list_size(number) for number in range(16)) < ROWS / 4


def test_too_few_rows_for_a_factory_are_an_error_that_names_it(tmp_path, matrix):
    with pytest.raises(RecipeError, match=r"IVF64,Flat.*40 rows"):
        build(tmp_path, matrix[:40], factory="IVF64,Flat")


def test_steps_that_an_index_does_not_need():
    steps = {
        "Flat": False,
        "HNSW32": False,
        "HNSW32,SQ8": True,
        "IVF64,Flat": True,
        "PCA16,IVF64,SQ8": True,
    }
    for factory, expected in steps.items():
        indexer = DenseIndexer(DenseSettings(factory=factory), 10_000, 24)
        assert indexer.needs_training == expected, factory
    assert not DenseIndexer(DenseSettings(engine="hnswlib"), 10_000, 24).needs_training


def test_ids_of_any_size_survive(tmp_path, matrix):
    ids = chunk_ids(100) + np.int64(2**62)
    built = build(tmp_path, matrix[:100], ids=ids, factory="HNSW8")
    assert np.array_equal(built.open().search(matrix[:100], 1)[1][:, 0], ids)
