"""What tombstones leave out of each table and index, in a manifest's entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.documents.corrections import write_corrections
from mnemodex.retrievers.corrections import Corrections
from mnemodex.retrievers.tombstones import mask_errors, read_tombstones
from mnemodex.schemas.manifest import Artifacts, TableEntry
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import CHUNKS, CORRECTIONS, DOCUMENTS, ERRORS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnemodex.retrievers.tombstones import Tombstones
    from mnemodex.schemas.manifest import Artifact, IndexEntry, Manifest
    from mnemodex.schemas.store.store import Store


def with_tombstones(
    store: Store, manifest: Manifest, tombstones: Sequence[Artifact], passed: Mapping[str, Any]
) -> Manifest:
    """Return a manifest with tombstones, in its entries how many rows these leave out, and with corrections.

    `passed` are the encoders that were passed to `build`, by the names of their embeddings.
    """
    if not tombstones:
        return manifest
    ids = read_tombstones(store, tombstones)
    rows = {"doc_id": manifest.tables[DOCUMENTS.label], "chunk_id": manifest.tables[CHUNKS.label]}
    caches, made = manifest.caches, Artifacts(write_corrections(store, manifest, ids, passed))
    if made:
        caches = caches | {CORRECTIONS.path: TableEntry(name=CORRECTIONS.label, partitions=made)}
    corrections = Corrections(store, made)
    tables = {}
    for name, table in manifest.tables.items():
        masked = corrections.count_left_out(table)
        if masked is None:
            masked = _count_masked(store, table, ids, rows)
        tables[name] = table.model_copy(update={"masked": masked})
    indexes = {name: _masked_index(index, tables) for name, index in manifest.indexes.items()}
    changed = {"tables": tables, "indexes": indexes, "caches": caches, "tombstones": Artifacts(tombstones)}
    return manifest.model_copy(update=changed)


def _count_masked(store: Store, table: TableEntry, ids: Tombstones, whole: Mapping[str, TableEntry]) -> int:
    """Return the number of rows of a table that are left out; `whole` has a row for each id of a column."""
    if table.name == ERRORS.label:
        return sum(int(mask_errors(store, part, ids).sum()) for part in table.partitions)
    column = ids.column([table.id_column or ""])
    if column is not None and column in whole and whole[column].partitions.rows == table.partitions.rows:
        return len(getattr(ids, column))
    column = column or ids.column(list(table.parents))
    if column is None:
        return 0
    # Pages are checked as they are read.
    paths = (store.files.unchecked(part.file(".parquet")) for part in table.partitions)
    return sum(int(ids.mask(column, parquet.column(path, column)).sum()) for path in paths)


def _masked_index(index: IndexEntry, tables: dict[str, TableEntry]) -> IndexEntry:
    if index.table is None:
        return index
    masked = tables[index.table].masked
    return index.model_copy(update={"masked": masked, "rows": index.rows + index.masked - masked})
