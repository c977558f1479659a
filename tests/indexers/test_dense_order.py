from __future__ import annotations

import numpy as np
import pytest
from dense_data import build, clustered
from hypothesis import given
from hypothesis import strategies as st

from mnemodex.indexers.dense.order import hold_out, insertion_order, local_intrinsic_dimensionality
from mnemodex.indexers.dense.vectors import Vectors, sample_rows
from mnemodex.schemas.errors import CorruptFileError

ORDERS = ["shuffle", "lid_desc", "lid_asc", "cluster", "as_is"]


def stored(folder, *matrices):
    paths = [folder / f"{number}.npy" for number in range(len(matrices))]
    for path, matrix in zip(paths, matrices, strict=True):
        np.save(path, matrix)
    return Vectors(paths, [path.stem for path in paths], dimension=matrices[0].shape[1])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("rows", [0, 1, 2, 30, 700])
def test_an_order_is_a_permutation_and_repeats(tmp_path, order, rows):
    matrix = clustered(rows) if rows else np.zeros((0, 24), np.float32)
    vectors = stored(tmp_path, matrix[: rows // 3], matrix[rows // 3 :])
    first, second = (insertion_order(order, vectors, seed=3) for _ in range(2))
    assert np.array_equal(np.sort(first), np.arange(rows))
    assert np.array_equal(first, second)


def test_orders_sort_by_what_they_say(tmp_path):
    rng = np.random.default_rng(0)
    plane = np.zeros((300, 12), np.float32)
    plane[:, :2] = rng.normal(size=(300, 2))
    ball = (rng.normal(size=(300, 12)) + 20).astype(np.float32)
    vectors = stored(tmp_path, plane, ball)
    assert (insertion_order("lid_desc", vectors, seed=0)[:300] >= 300).mean() > 0.95
    assert (insertion_order("lid_asc", vectors, seed=0)[:300] < 300).mean() > 0.95
    sides = insertion_order("cluster", vectors, seed=0) < 300
    assert np.count_nonzero(np.diff(sides)) < 30
    shuffled = insertion_order("shuffle", vectors, seed=0) < 300
    assert 200 < np.count_nonzero(np.diff(shuffled)) < 400
    assert not np.array_equal(insertion_order("shuffle", vectors, seed=1) < 300, shuffled)


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_the_estimate_finds_the_dimensions_that_the_points_have(dimensions):
    rng = np.random.default_rng(0)
    points = rng.uniform(size=(3000, dimensions)) @ np.linalg.qr(rng.normal(size=(10, 10)))[0][:dimensions]
    estimate = local_intrinsic_dimensionality(points.astype(np.float32))
    assert np.median(estimate) == pytest.approx(dimensions, rel=0.2)


def test_copies_have_no_dimensionality():
    copies = np.repeat(np.eye(2, 8, dtype=np.float32), 40, axis=0)
    assert (local_intrinsic_dimensionality(copies) == 0).all()


@pytest.mark.parametrize("order", ORDERS)
def test_a_graph_can_be_grown_in_every_order(tmp_path, order):
    matrix = clustered(600)
    built = build(tmp_path, matrix, sizes=[200, 400], factory="HNSW8", order=order)
    assert built.stats[0].order == order
    assert np.mean(built.open(64).search(matrix, 1)[1][:, 0] == built.ids) > 0.99


def test_what_does_not_depend_on_the_order_keeps_the_rows_as_they_are(tmp_path):
    built = build(tmp_path, clustered(300), factory="Flat", order="lid_desc", probes=clustered(5))
    assert built.stats[0].order == "as_is"
    assert np.array_equal(np.load(built.shards[0] / "row.npy"), np.arange(300))


@given(rows=st.integers(1, 200), part=st.floats(0, 1), seed=st.integers(0, 9))
def test_rows_are_held_out_at_the_end_and_the_others_stay_in_order(rows, part, seed):
    count = int(part * rows)
    order = hold_out(np.arange(rows), count, seed=seed)
    assert np.array_equal(np.sort(order), np.arange(rows))
    assert (np.diff(order[: rows - count]) > 0).all()


@given(rows=st.integers(0, 300), count=st.integers(0, 300), seed=st.integers(0, 9))
def test_a_sample_has_different_rows_from_everywhere(rows, count, seed):
    sample = sample_rows(rows, count, seed=seed)
    assert len(sample) == min(rows, count)
    assert (np.diff(sample) > 0).all() and (sample >= 0).all() and (sample < rows).all()
    assert np.array_equal(sample, sample_rows(rows, count, seed=seed))


def test_a_sample_is_uniform():
    hits = np.zeros(100)
    for seed in range(400):
        hits[sample_rows(100, 20, seed=seed)] += 1
    assert hits.min() > 50 and hits.max() < 120


@given(sizes=st.lists(st.integers(0, 12), min_size=1, max_size=5), seed=st.integers(0, 1000), half=st.booleans())
def test_rows_are_read_in_any_order_from_any_partitions(tmp_path_factory, sizes, seed, half):
    rng = np.random.default_rng(seed)
    matrices = [rng.normal(size=(size, 3)).astype(np.float16 if half else np.float32) for size in sizes]
    vectors = stored(tmp_path_factory.mktemp("vectors"), *matrices)
    whole = np.concatenate(matrices).astype(np.float32)
    rows = rng.integers(max(1, len(whole)), size=2 * len(whole))
    assert np.array_equal(vectors.take(rows), whole[rows])
    assert np.array_equal(np.concatenate([*vectors.blocks(rows, 4), np.zeros((0, 3), np.float32)]), whole[rows])


def test_a_large_but_finite_vector_is_no_error(tmp_path):
    huge = np.full((4, 3), 3e38, np.float32)
    assert np.array_equal(stored(tmp_path, huge).take(np.arange(4)), huge)


def test_a_file_that_is_no_matrix_is_named(tmp_path):
    path = tmp_path / "0.npy"
    for content in (b"", b"nothing", b"\x93NUMPY\x01\x00"):
        path.write_bytes(content)
        with pytest.raises(CorruptFileError, match=r"0\.npy"):
            Vectors([path], ["0"], dimension=3)
    for wrong in (np.zeros((2, 3)), np.zeros(3, np.float32), np.zeros((2, 4), np.float32)):
        np.save(path, wrong)
        with pytest.raises(CorruptFileError, match="float32 or float16"):
            Vectors([path], ["0"], dimension=3)
