"""The views of SQL: tables of a snapshot, and its catalogue."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mnemodex.retrievers.corrections import COUNTED
from mnemodex.retrievers.tombstones import mask_errors
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import to_column
from mnemodex.schemas.tables import CHUNKS, CORRECTED, ERRORS, TableKey, spec_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.retrievers.snapshot import Snapshot


def empty_view(view: str) -> pa.Table:
    """Return the rows of a table of ours that the memory does not have, or that has no partition."""
    return spec_of(TableKey.parse(view)).schema.empty_table()


def dataset(snapshot: Snapshot, table: str) -> Any:
    """Return the table as Arrow rows, mostly a dataset over checked files, without those that tombstones leave out.

    Of a table that has corrections they are those of the files. Page checksums are verified as pages are read.
    """
    import pyarrow.dataset as ds

    if table == ERRORS.label and len(snapshot.tombstones.doc_id):
        return _errors(snapshot)
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    paths = [str(path) for path in snapshot.paths(table)]
    rows = ds.dataset(paths, format=ds.ParquetFileFormat(default_fragment_scan_options=options))
    left_out = left_out_rows(snapshot, table, rows.schema.names)
    return rows if left_out is None else rows.filter(~ds.field(left_out[0]).isin(to_column(left_out[1], pa.int64())))


def left_out_rows(snapshot: Snapshot, table: str, columns: Sequence[str]) -> tuple[str, Int64s] | None:
    """Return by which of its columns rows of a table are left out, and its values in these, ascending; None for none.

    Of errors, and of tables that have corrections, no column says it.
    """
    column = snapshot.tombstones.column(list(columns))
    if column is not None:
        return column, getattr(snapshot.tombstones, column)
    counted = next((name for name in columns if name in COUNTED), None)
    if counted is None or TableKey.parse(table) in CORRECTED:
        return None
    ids = snapshot.corrections.left_out(counted)
    return (counted, ids) if len(ids) else None


def _errors(snapshot: Snapshot) -> pa.Table:
    """Return the errors that are about no document that is left out: no column says which these are."""
    parts = snapshot.manifest.tables[ERRORS.label].partitions
    kept = [np.flatnonzero(~mask_errors(snapshot.store, part, snapshot.tombstones)) for part in parts]
    rows = [parquet.read(path) for path in snapshot.paths(ERRORS.label)]
    return pa.concat_tables([one.take(to_column(places, pa.int64())) for one, places in zip(rows, kept, strict=True)])


def corrected(connection: duckdb.DuckDBPyConnection, table: str, rows: Any, corrections: pa.Table | None) -> Any:
    """Return the rows of a table as a relation of DuckDB, in which corrections take the place of some.

    It keeps no reference to either.
    """
    shown = connection.from_arrow(rows)
    if corrections is None:
        return shown
    key = TableKey.parse(table)
    unique = CORRECTED.get(key) or (spec_of(key).id_column,)
    same = " AND ".join(f"one.{column} = other.{column}" for column in unique)
    others = connection.from_arrow(corrections)
    left = shown.set_alias("one").join(others.set_alias("other"), same, how="anti")
    return left.union(others.filter("NOT left_out").project(", ".join(shown.columns)))


def catalogue(snapshot: Snapshot) -> dict[str, pa.Table]:
    """Return the views `files`, `indexes`, `shards` and `snapshots`."""
    manifest = snapshot.manifest
    files = [
        (TableKey.parse(table.name).view, part.label, part.rows, file.bytes, file.sha256, file.path)
        for table in manifest.tables.values()
        for part in table.partitions
        for file in part.files
    ]
    indexes = [
        (i.name, i.type, json.dumps(i.settings), i.rows, i.bytes, i.recall.recall if i.recall else None)
        for i in manifest.indexes.values()
    ]
    shards = [(i.name, s.label, s.rows, s.bytes) for i in manifest.indexes.values() for s in i.shards]
    snapshots = [
        (m.name, m.parent, m.created, m.tables[CHUNKS.label].rows if CHUNKS.label in m.tables else 0, m.recipe_hash)
        for m in snapshot.store.history(manifest)
    ]
    text, integer, real = pa.string(), pa.int64(), pa.float64()
    return {
        "files": _table(files, table_name=text, partition=text, rows=integer, bytes=integer, sha256=text, path=text),
        "indexes": _table(indexes, name=text, type=text, settings=text, rows=integer, bytes=integer, recall=real),
        "shards": _table(shards, index_name=text, shard=text, rows=integer, bytes=integer),
        "snapshots": _table(snapshots, name=text, parent=text, created=text, chunks=integer, recipe_hash=text),
    }


def _table(rows: list[tuple[Any, ...]], /, **columns: pa.DataType) -> pa.Table:
    return pa.table(
        {name: pa.array([row[i] for row in rows], type_) for i, (name, type_) in enumerate(columns.items())}
    )
