"""How many rows of each table and index tombstones leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.retrievers.tombstones import read_tombstones
from mnemodex.schemas.manifest import Artifacts
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnemodex.retrievers.tombstones import Tombstones
    from mnemodex.schemas.manifest import Artifact, IndexEntry, Manifest, TableEntry
    from mnemodex.schemas.store.store import Store


def with_tombstones(store: Store, manifest: Manifest, tombstones: Sequence[Artifact]) -> Manifest:
    """Return a manifest with tombstones, and in its entries how many rows these leave out."""
    if not tombstones:
        return manifest
    ids = read_tombstones(store, tombstones)
    rows = {"doc_id": manifest.tables[DOCUMENTS.label], "chunk_id": manifest.tables[CHUNKS.label]}
    tables = {name: _masked(store, table, ids, rows) for name, table in manifest.tables.items()}
    indexes = {name: _masked_index(index, tables) for name, index in manifest.indexes.items()}
    return manifest.model_copy(update={"tables": tables, "indexes": indexes, "tombstones": Artifacts(tombstones)})


def _masked(store: Store, table: TableEntry, ids: Tombstones, whole: Mapping[str, TableEntry]) -> TableEntry:
    """Return a table's entry with the number of rows that are left out; `whole` has a row for each id of a column."""
    column = ids.column([table.id_column or ""])
    if column is None:
        return table
    if column in whole and whole[column].partitions.rows == table.partitions.rows:
        return table.model_copy(update={"masked": len(getattr(ids, column))})
    # Pages are checked as they are read.
    paths = (store.files.unchecked(part.file(".parquet")) for part in table.partitions)
    masked = sum(int(ids.mask(column, parquet.column(path, column)).sum()) for path in paths)
    return table.model_copy(update={"masked": masked})


def _masked_index(index: IndexEntry, tables: dict[str, TableEntry]) -> IndexEntry:
    if index.table is None:
        return index
    masked = tables[index.table].masked
    return index.model_copy(update={"masked": masked, "rows": index.rows + index.masked - masked})
