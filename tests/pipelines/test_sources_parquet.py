from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sources import items, opened

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.sources.base import Record
from mnemodex.schemas.errors import SourceError


def table(count, **columns):
    rows = {"id": [f"d{number}" for number in range(count)], "text": [f"жук {number}" for number in range(count)]}
    return pa.table(rows | columns)


def write(path, rows, **options):
    pq.write_table(rows, path, **options)
    return path


def test_rows_are_documents_by_number(tmp_path):
    path = write(tmp_path / "c.parquet", table(3, title=["A", None, "C"], year=[1, 2, 3]), row_group_size=2)
    assert items(opened(path)) == [
        Record("d0", "A", "жук 0", {"year": 1}, "c.parquet", 1),
        Record("d1", "", "жук 1", {"year": 2}, "c.parquet", 2),
        Record("d2", "C", "жук 2", {"year": 3}, "c.parquet", 3),
    ]


@pytest.mark.parametrize("rows", [1, 7, 300, 2000])
@pytest.mark.parametrize("group", [13, 600, 5000])
def test_splits_of_any_size_hold_the_rows_of_the_table(tmp_path, rows, group):
    path = write(tmp_path / "c.parquet", table(1000), row_group_size=group)
    source = opened(path, rows=rows)
    splits = source.plan()
    assert all(piece.rows <= rows for split in splits for piece in split.pieces)
    assert [item.line for split in splits for item in source.read(split)] == list(range(1, 1001))
    # Any order, by a reader that has read others before.
    back = {item.key for split in splits[::-1] for item in source.read(split)}
    assert back == {f"d{number}" for number in range(1000)}


def test_bytes_end_a_piece_too(tmp_path):
    path = write(tmp_path / "c.parquet", table(100, more=["x" * 1000 + str(n) for n in range(100)]))
    assert len(opened(path, size=20_000).plan()) > 4


def test_values_of_every_type_become_json(tmp_path):
    columns = {
        "when": pa.array([datetime(2024, 5, 1, 12, tzinfo=UTC)], pa.timestamp("us", tz="UTC")),
        "day": [date(2024, 5, 1)],
        "price": [Decimal("1.50")],
        "share": [float("nan")],
        "tags": [["a", "b"]],
        "inner": [{"x": 1, "day": date(2024, 5, 2), "raw": b"\xff"}],
        "kind": pa.array(["k"]).dictionary_encode(),
        "bytes": [b"caf\xc3\xa9"],
        "image": [b"\xff\xd8"],
        "flag": [True],
        "none": pa.nulls(1),
        "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
    }
    (row,) = items(opened(write(tmp_path / "c.parquet", table(1, **columns))))
    assert row.metadata == {
        "when": "2024-05-01 12:00:00.000000Z",
        "day": "2024-05-01",
        "price": "1.50",
        "share": None,
        "tags": ["a", "b"],
        "inner": {"x": 1, "day": "2024-05-02", "raw": None},
        "kind": "k",
        "bytes": "café",
        "flag": True,
        "none": None,
        "map": [["k", 1]],
    }


def test_rows_without_a_text_or_with_bytes_in_it_are_bad_rows(tmp_path):
    rows = pa.table({"id": [1, 2, 3], "text": pa.array([b"a", None, b"\xff"], pa.binary())})
    good, null, raw = items(opened(write(tmp_path / "c.parquet", rows)))
    assert good.text == "a"
    assert isinstance(null, BadRow) and "'text' is null" in null.reason
    assert isinstance(raw, BadRow) and "'text' is bytes, not a string" in raw.reason
    assert raw.line == 3


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    (tmp_path / "c.parquet").write_bytes(b"PAR1 is not all")
    with pytest.raises(SourceError, match=r"c\.parquet: cannot be read as Parquet .*; write or download it again"):
        opened(tmp_path / "c.parquet").plan()


def test_two_columns_of_one_name_are_refused(tmp_path):
    rows = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    with pytest.raises(SourceError, match="two columns have the name 'text'"):
        opened(write(tmp_path / "c.parquet", rows)).plan()


def test_another_column_name_changes_every_split(tmp_path):
    old = opened(write(tmp_path / "c.parquet", table(10)), rows=2).plan()
    new = opened(write(tmp_path / "c.parquet", table(10).rename_columns(["id", "body"])), rows=2).plan()
    assert not {split.fingerprint() for split in old} & {split.fingerprint() for split in new}


def test_a_file_that_changed_after_the_plan_is_refused(tmp_path):
    path = write(tmp_path / "c.parquet", table(100), row_group_size=10)
    source = opened(path, rows=5)
    plan = source.plan()
    write(path, table(100, more=["x"] * 100), row_group_size=10)
    with pytest.raises(SourceError, match="has changed while the build read it"):
        [list(source.read(split)) for split in plan]
    write(path, table(3))
    with pytest.raises(SourceError, match="has changed while the build read it"):
        list(opened(path, rows=5).read(plan[-1]))
