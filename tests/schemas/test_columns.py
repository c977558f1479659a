"""Arrow columns that are made and read without pandas."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mnemodex.schemas.ids import hash_strings
from mnemodex.schemas.store.columns import numbers, spelling, to_column, to_table

TEXTS = ["", "a", "naïve", "कि", "a\0", "\0a", "a"]


def test_columns_are_those_that_pyarrow_makes():
    schema = pa.schema([("text", pa.string()), ("place", pa.int32()), ("weight", pa.float32())])
    columns = [TEXTS, range(7), np.arange(7)[::-1] / 2]
    assert to_table(columns, schema).equals(pa.table([TEXTS, list(range(7)), np.arange(7)[::-1] / 2], schema=schema))


def test_a_column_of_arrow_is_given_back():
    column = pa.array([1, None])
    assert to_column(column, pa.int64()) is column


@pytest.mark.parametrize("chunks", [[[1, 2, 3]], [[1], [], [2, 3]], [[]], []])
def test_numbers_are_those_that_pyarrow_reads(chunks):
    column = pa.chunked_array(chunks, pa.int32())
    np.testing.assert_array_equal(numbers(column.slice(1)), column.slice(1).to_numpy())
    assert numbers(column).dtype == np.int32


@pytest.mark.parametrize("column", [pa.array([1.5, None]), pa.array([True, False]), pa.array(["a", "b"])])
def test_other_columns_are_as_pyarrow_reads_them(column):
    for one in (column, pa.chunked_array([column, column])):
        np.testing.assert_array_equal(numbers(one), one.to_pandas().to_numpy())


def test_equal_strings_alone_have_one_hash():
    hashes = hash_strings(*spelling(pa.array(["left out", *TEXTS]).slice(1)))
    assert hashes[1] == hashes[6]
    assert len(np.unique(hashes)) == len(TEXTS) - 1
