"""How many rows of each table and index tombstones leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.retrievers.tombstones import read_tombstones
from mnemodex.schemas.manifest import Artifacts
from mnemodex.schemas.store import parquet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.tombstones import Tombstones
    from mnemodex.schemas.manifest import Artifact, IndexEntry, Manifest, TableEntry
    from mnemodex.schemas.store.store import Store


def with_tombstones(store: Store, manifest: Manifest, tombstones: Sequence[Artifact]) -> Manifest:
    """Return a manifest with tombstones, and in its entries how many rows these leave out."""
    if not tombstones:
        return manifest
    ids = read_tombstones(store, tombstones)
    tables = {name: _masked(store, table, ids) for name, table in manifest.tables.items()}
    indexes = {name: _masked_index(index, tables) for name, index in manifest.indexes.items()}
    return manifest.model_copy(update={"tables": tables, "indexes": indexes, "tombstones": Artifacts(tombstones)})


def _masked(store: Store, table: TableEntry, ids: Tombstones) -> TableEntry:
    """Return a table's entry with the number of rows that are left out now."""
    column = ids.column([table.id_column or ""])
    if column is None:
        return table
    masked = sum(
        int(ids.mask(column, parquet.column(store.files.local(part.file(".parquet")), column)).sum())
        for part in table.partitions
    )
    return table.model_copy(update={"masked": masked})


def _masked_index(index: IndexEntry, tables: dict[str, TableEntry]) -> IndexEntry:
    if index.table is None:
        return index
    masked = tables[index.table].masked
    return index.model_copy(update={"masked": masked, "rows": index.rows + index.masked - masked})
