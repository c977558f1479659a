"""Deletions by tombstones: the files stay as they are, and readers leave out what a tombstone names.

So a deletion costs what it names, not what the memory holds, as in Lucene's live documents. The next build writes the
files without it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mnemodex.indexers.base import InputPartition
from mnemodex.pipelines.indexes.ops import make_indexer
from mnemodex.retrievers.snapshot import Snapshot
from mnemodex.retrievers.tombstones import Tombstones, read_tombstones
from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.kinds import KINDS, load
from mnemodex.schemas.manifest import fingerprint
from mnemodex.schemas.pair_sections import GeneratedPairs
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import to_table
from mnemodex.schemas.store.local_files import sha256
from mnemodex.schemas.table import row_schema
from mnemodex.schemas.tables import (
    CHUNKS,
    CORRECTED,
    DOCUMENTS,
    ERRORS,
    MENTIONS,
    QA_CANDIDATES,
    TOMBSTONES,
    TRIPLES,
    TableKey,
    TableSpec,
    spec_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.documents.changes import ChangeLog
    from mnemodex.schemas.manifest import Artifact, IndexEntry, Manifest, TableEntry
    from mnemodex.schemas.recipe import Recipe
    from mnemodex.schemas.store.store import Store

MOST_MASKED = 0.2
"""Largest share of documents that readers leave out. Above it the files are written again without them."""


_TABLES = (DOCUMENTS, CHUNKS, ERRORS, TRIPLES, MENTIONS, QA_CANDIDATES, *CORRECTED)
"""Tables without a name of which a row is of one document, or has corrections."""


MOST_PARTS = 8
"""Most tombstone files of a snapshot; the next deletion merges them into one."""


def can_mask(manifest: Manifest, recipe: Recipe, count: int) -> bool:
    """Return whether so many documents more can be left out: by every reader of a memory, and of not too many."""
    documents = manifest.tables[DOCUMENTS.label]
    return (
        documents.masked + count <= MOST_MASKED * documents.partitions.rows
        and all(map(_is_masked, manifest.tables))
        and all(map(_masks, manifest.indexes.values()))
        and not _filters_by_index(recipe)
    )


def _filters_by_index(recipe: Recipe) -> bool:
    """Return whether pairs are judged by the hits of an index, which in a build finds what readers leave out."""
    pairs = recipe.qa_pairs
    return isinstance(pairs, GeneratedPairs) and pairs.filter is not None and pairs.filter.by == "global"


def _is_masked(label: str) -> bool:
    key = TableKey.parse(label)
    if key.family == "embeddings":
        return key.part in {"", "facts", "entities", "questions", "question_answers"}
    return key in _TABLES or (key.family in {"lm_tokens", "lm_states", "ngram_pairs"} and not key.part)


def _masks(index: IndexEntry) -> bool:
    try:
        return KINDS.find(index.type).masks
    except RecipeError:
        return False


def write_tombstones(store: Store, base: Manifest, removed: Sequence[int], log: ChangeLog) -> list[Artifact]:
    """Return the tombstones of a snapshot, and one of some documents of it, given by their ids.

    Where there are many, one takes the place of all: searches ask each of them.
    """
    ids = _find_ids(store, base, np.sort(np.array(removed, np.int64)))
    former = list(base.tombstones)
    if len(former) >= MOST_PARTS:
        ids = Tombstones(*(np.union1d(*pair) for pair in zip(ids, read_tombstones(store, former), strict=True)))
        former = []
    attempt = store.files.attempt()
    for name in ids._fields:
        column: Int64s = getattr(ids, name)
        schema = row_schema(**{name: pa.int64()})
        parquet.write(attempt / f"{name}.parquet", TableSpec(schema), to_table([column], schema).to_batches())
    digests = [sha256(attempt / f"{name}.parquet") for name in ids._fields]
    _build_shards(store, base, ids, attempt)
    label, fingerprinted = f"+{log.layer:06d}", fingerprint(digests, base.recipe_hash)
    made = store.publish(attempt, TOMBSTONES.path, label, fingerprinted, rows=len(ids.doc_id), as_folder=True)
    return [*former, made]


def _build_shards(store: Store, manifest: Manifest, ids: Tombstones, folder: Path) -> None:
    """Build what is left out into shards, in a folder named after each index that takes these off."""
    kinds = {name: KINDS.find(index.type) for name, index in manifest.indexes.items()}
    names = [
        name
        for name, kind in kinds.items()
        if kind.indexer and load(kind.indexer).takes_off and manifest.indexes[name].shards
    ]
    if not names:
        return
    scratch = store.files.attempt()
    try:
        settings = {name: load(kinds[name].settings).model_validate(manifest.indexes[name].settings) for name in names}
        tables = {name: load(kinds[name].indexer).table(settings[name]) for name in names}
        left_out = {CHUNKS: _copy_rows(store, manifest, CHUNKS, ids, scratch)}
        if DOCUMENTS in tables.values():
            left_out[DOCUMENTS] = _copy_rows(store, manifest, DOCUMENTS, ids, scratch)
            left_out[DOCUMENTS].aligned[CHUNKS.label] = left_out[CHUNKS]
        for name, table in tables.items():
            indexer: Any = make_indexer(settings[name], rows=len(ids.doc_id), dimension=0)
            indexer.setup(len(os.sched_getaffinity(0)))
            (folder / name).mkdir()
            indexer.build_left_out(left_out[table], folder / name)
    finally:
        store.files.delete(f"work/{scratch.name}")


def _copy_rows(store: Store, manifest: Manifest, key: TableKey, ids: Tombstones, folder: Path) -> InputPartition:
    """Write the rows of a table that are left out as one partition."""
    snapshot, spec = Snapshot(store, manifest), spec_of(key)
    column = spec.id_column or ""
    found: list[pa.RecordBatch] = []
    for part in manifest.tables[key.label].partitions:
        rows = np.flatnonzero(ids.mask(column, snapshot.column(key.label, part.label, column)))
        if len(rows):
            taken = snapshot.take(key.label, part.label, rows, spec.schema.names)
            found += taken.cast(spec.schema).combine_chunks().to_batches()
    snapshot.unpin()
    target = folder / f"{key.label}.parquet"
    return InputPartition("left-out", parquet.write(target, spec, found), {"parquet": target})


def _find_ids(store: Store, manifest: Manifest, doc_ids: Int64s) -> Tombstones:
    """Return the ids of all that is of some documents."""
    none = np.zeros(0, np.int64)
    ids = Tombstones(doc_ids, none, none)
    states = (table for table in manifest.tables.values() if table.id_column == "position")
    chunk_ids = _ids_of(store, manifest.tables[CHUNKS.label], ids)
    # Positions are counted from the document's id, by every model.
    positions = np.concatenate([none, *(_ids_of(store, table, ids) for table in states)])
    return Tombstones(doc_ids, chunk_ids, np.unique(positions))


def _ids_of(store: Store, table: TableEntry, ids: Tombstones) -> Int64s:
    """Return the ids of the rows whose document is left out, ascending."""
    assert table.id_column is not None  # noqa: S101 - of chunks, and of states
    found = [np.zeros(0, np.int64)]
    for part in table.partitions:
        # Pages are checked as they are read.
        path = store.files.unchecked(part.file(".parquet"))
        chosen = ids.mask("doc_id", parquet.column(path, "doc_id"))
        if chosen.any():
            found.append(parquet.column(path, table.id_column)[chosen])
    return np.sort(np.concatenate(found))
