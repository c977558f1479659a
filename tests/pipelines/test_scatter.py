"""Rows of a table in groups of equal numbers, in one pass over it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemodex.pipelines.ops import scatter as module
from mnemodex.pipelines.ops.scatter import scatter
from mnemodex.schemas.store.store import Store

ids = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(0, 5)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = Store(tmp_path_factory.mktemp("scatter"))
    made.prepare()
    return made


@given(batches=st.lists(st.lists(ids, max_size=30), max_size=6), rows=st.integers(0, 1 << 40))
def test_each_row_is_in_one_group_with_all_of_its_number_in_their_order(store, batches, rows):
    numbers = [number for batch in batches for number in batch]
    rows_of = np.stack([np.array(numbers, np.int64), np.arange(len(numbers))], axis=1)
    parts = np.split(rows_of, np.cumsum([len(batch) for batch in batches], dtype=np.int64))
    groups = [group.tolist() for group in scatter(store.files, parts, rows)]
    assert sorted(row for group in groups for row in group) == sorted(rows_of.tolist())
    assert all([row[1] for row in group] == sorted(row[1] for row in group) for group in groups)
    homes = [{row[0] for row in group} for group in groups]
    assert sum(map(len, homes)) == len(set().union(*homes))


@pytest.mark.parametrize(("rows", "groups"), [(1000, 128), (1 << 40, 256)])
def test_groups_are_small_however_the_numbers_lie(store, monkeypatch, rows, groups):
    monkeypatch.setattr(module, "ROWS", 16)
    numbers = np.arange(1000, dtype=np.int64)[:, np.newaxis]
    sizes = [len(group) for group in scatter(store.files, [numbers], rows)]
    assert len(sizes) == groups and max(sizes) <= 32


def test_nothing_is_left_when_the_reader_stops(store):
    groups = scatter(store.files, [np.ones((5, 1), np.int64)], 5)
    next(groups)
    assert store.files.names("work")
    groups.close()
    assert store.files.names("work") == []
