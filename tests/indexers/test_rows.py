"""Which chunk is at each position of an index."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from chunk_data import chunk_ids, chunk_partitions

from mnemodex.indexers.rows import Rows
from mnemodex.schemas.errors import CorruptFileError


@pytest.fixture
def rows(tmp_path):
    return Rows.of(chunk_partitions(tmp_path / "table", list("abcdefg"), [3, 0, 4]))


def test_rows_of_partitions_stand_in_order(rows):
    assert rows.ids.tolist() == chunk_ids(7).tolist()
    assert rows.partition.tolist() == [0, 0, 0, 2, 2, 2, 2]
    assert rows.row.tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert rows.labels == ("p0", "p1", "p2")
    assert (rows.ids.dtype, rows.partition.dtype, rows.row.dtype) == (np.int64, np.int32, np.int64)


def test_no_partitions_give_no_rows():
    rows = Rows.of([])
    assert len(rows.ids) == len(rows.partition) == len(rows.row) == 0 and rows.labels == ()


def test_what_is_saved_is_opened_again_as_maps(tmp_path, rows):
    (tmp_path / "out").mkdir()
    rows.save(tmp_path / "out")
    opened = Rows.open(tmp_path / "out")
    for name in ("ids", "partition", "row"):
        assert np.array_equal(getattr(opened, name), getattr(rows, name))
        assert getattr(opened, name).dtype == getattr(rows, name).dtype
        assert not getattr(opened, name).flags.writeable
    assert opened.labels == rows.labels


def test_any_number_of_them_is_opened_with_few_descriptors(tmp_path, rows):
    rows.save(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    opened = [Rows.open(tmp_path) for _ in range(50)]
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
    assert all(np.array_equal(part.ids, rows.ids) for part in opened)


def test_shards_are_put_one_after_the_other_with_their_labels(rows):
    other = Rows(np.array([5]), np.array([1], np.int32), np.array([9]), ("x", "y"))
    joined = Rows.concatenate([rows, other, rows])
    assert joined.ids.tolist() == [*rows.ids.tolist(), 5, *rows.ids.tolist()]
    assert [joined.labels[number] for number in joined.partition] == [
        *["p0"] * 3,
        *["p2"] * 4,
        "y",
        *["p0"] * 3,
        *["p2"] * 4,
    ]
    assert joined.row.tolist() == [0, 1, 2, 0, 1, 2, 3, 9, 0, 1, 2, 0, 1, 2, 3]
    assert joined.partition.dtype == np.int32


def test_arrays_that_do_not_belong_together_are_refused(tmp_path, rows):
    rows.save(tmp_path)
    np.save(tmp_path / "row.npy", rows.row[:-1])
    with pytest.raises(CorruptFileError, match=r"differ in length; remove the folder .* and build again"):
        Rows.open(tmp_path)


def test_a_pickled_array_is_not_opened(tmp_path, rows):
    rows.save(tmp_path)
    np.save(tmp_path / "row.npy", np.array([{}] * 7, dtype=object), allow_pickle=True)
    with pytest.raises(CorruptFileError, match=r"no array .*OBJECT"):
        Rows.open(tmp_path)


def test_labels_are_json(tmp_path, rows):
    rows.save(tmp_path)
    assert json.loads((tmp_path / "labels.json").read_text(encoding="utf-8")) == ["p0", "p1", "p2"]
