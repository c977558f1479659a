"""The views of SQL: tables of a snapshot, and its catalogue."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mnemodex.schemas.store.columns import to_column
from mnemodex.schemas.tables import CHUNKS, TableKey, spec_of

if TYPE_CHECKING:
    from mnemodex.retrievers.snapshot import Snapshot


def empty_view(view: str) -> pa.Table:
    """Return the rows of a table of ours that the memory does not have, or that has no partition."""
    return spec_of(TableKey.parse(view)).schema.empty_table()


def dataset(snapshot: Snapshot, table: str) -> Any:
    """Return the table as an Arrow dataset over checked files, without the rows that tombstones leave out.

    Page checksums are verified as pages are read.
    """
    import pyarrow.dataset as ds

    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    paths = [str(path) for path in snapshot.paths(table)]
    rows = ds.dataset(paths, format=ds.ParquetFileFormat(default_fragment_scan_options=options))
    column = snapshot.tombstones.column(rows.schema.names)
    if column is None:
        return rows
    left_out = to_column(getattr(snapshot.tombstones, column), pa.int64())
    return rows.filter(~ds.field(column).isin(left_out))


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
