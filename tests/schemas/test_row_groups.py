"""Rows by position: as they are in the file, in bounded memory, and read once."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemodex.schemas.errors import CorruptFileError
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.row_groups import RowGroups
from mnemodex.schemas.tables import CHUNKS, spec_of

ROWS = 2500
TABLE = dataclasses.replace(spec_of(CHUNKS), row_group_rows=100)
COLUMNS = ["chunk_id", "text"]


@pytest.fixture(scope="module")
def partition(tmp_path_factory):
    count = np.arange(ROWS)
    text = [f"text {n}" for n in count]
    columns = [count, count * 2, count, count, count + 1, text, text, count]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, TABLE.schema, strict=True)]
    path = tmp_path_factory.mktemp("rows") / "data.parquet"
    parquet.write(path, TABLE, pa.table(arrays, schema=TABLE.schema).to_batches(max_chunksize=100))
    return path


def texts(rows, path, wanted, columns=COLUMNS):
    return rows.take("part", lambda: path, wanted, columns).to_pydict()


def expected(wanted):
    return {"chunk_id": list(wanted), "text": [f"text {n}" for n in wanted]}


@given(st.lists(st.lists(st.integers(0, ROWS - 1), max_size=30), max_size=5), st.sampled_from([0, 5000, 1 << 20]))
def test_rows_are_taken_in_the_order_asked_for_whatever_is_kept(partition, requests, most):
    rows = RowGroups(most)
    for wanted in requests:
        assert texts(rows, partition, wanted) == expected(wanted)
        assert rows.bytes <= most


def test_what_is_kept_needs_no_file(partition):
    rows = RowGroups()
    texts(rows, partition, [3, 1999])

    def gone():
        raise AssertionError("nothing has to be read")

    assert rows.take("part", gone, [1950, 4], COLUMNS).to_pydict() == expected([1950, 4])
    assert (rows.read, rows.found) == (4, 4)


def test_partitions_and_columns_are_kept_apart(partition, tmp_path):
    rows = RowGroups()
    texts(rows, partition, [1], ["text"])
    assert texts(rows, partition, [1]) == expected([1])
    assert rows.read == 2
    other = tmp_path / "other.parquet"
    parquet.write(other, TABLE, [parquet.read(partition).slice(100, 100).to_batches()[0]])
    assert rows.take("other", lambda: other, [1], COLUMNS).to_pydict() == expected([101])


def test_what_was_used_last_is_kept(partition):
    rows = RowGroups()
    texts(rows, partition, [0])
    rows = RowGroups(int(2.5 * rows.bytes))
    for row in (0, 100, 0, 200):
        texts(rows, partition, [row])
    read = rows.read
    texts(rows, partition, [0])
    assert rows.read == read
    texts(rows, partition, [100])
    assert rows.read == read + 2


def test_what_is_let_go_takes_no_memory_and_is_read_again(partition):
    rows = RowGroups()
    texts(rows, partition, range(ROWS))
    assert rows.bytes > ROWS * 8
    before = pa.total_allocated_bytes()
    rows.clear()
    assert rows.bytes == 0
    assert pa.total_allocated_bytes() < before
    assert texts(rows, partition, [7]) == expected([7])


def test_threads_share_what_is_kept(partition):
    rows = RowGroups(20_000)
    asked = [np.random.default_rng(number).integers(0, ROWS, 40) for number in range(200)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda wanted: texts(rows, partition, wanted), asked))
    assert answers == [expected(wanted.tolist()) for wanted in asked]
    kept = sum(column.nbytes for column in rows._columns.values())
    assert rows.bytes == kept <= 20_000


@pytest.mark.parametrize("wanted", [[ROWS], [-1], [0, 10**12]])
def test_a_row_that_is_not_there_is_damage(partition, wanted):
    with pytest.raises(CorruptFileError, match="build the index again"):
        texts(RowGroups(), partition, wanted)


def test_a_column_that_is_not_there_is_damage(partition):
    with pytest.raises(CorruptFileError, match="has no column 'colour'"):
        texts(RowGroups(), partition, [1], ["text", "colour"])


@pytest.mark.parametrize("written", [(), None])
def test_of_no_rows_there_are_the_columns(partition, tmp_path, written):
    path = partition
    if written is not None:
        path = tmp_path / "empty.parquet"
        parquet.write(path, TABLE, written)
    assert RowGroups().take("part", lambda: path, [], COLUMNS).schema.names == COLUMNS
