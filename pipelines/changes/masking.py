"""Deletions by tombstones: the files stay as they are, and readers leave out what a tombstone names.

So a deletion costs what it names, not what the memory holds, as in Lucene's live documents. The next build, or the next
change that writes documents, writes the files without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mnemodex.pipelines.changes.lookup import find_documents
from mnemodex.retrievers.tombstones import Tombstones
from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.kinds import KINDS
from mnemodex.schemas.manifest import fingerprint
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import to_table
from mnemodex.schemas.store.local_files import sha256
from mnemodex.schemas.table import row_schema
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS, ERRORS, TOMBSTONES, TableKey, TableSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.documents.changes import ChangeLog
    from mnemodex.schemas.manifest import Artifact, IndexEntry, Manifest, TableEntry
    from mnemodex.schemas.store.store import Store

MOST_MASKED = 0.2
"""Share of the documents that are left out at most: more would slow searches down more than writing the files anew."""


_FAMILIES = ("embeddings", "lm_tokens", "lm_states")
"""Tables of which a row is of one document."""


def can_mask(manifest: Manifest, count: int) -> bool:
    """Return whether so many documents more can be left out: by every reader of a memory, and of not too many."""
    documents = manifest.tables[DOCUMENTS.label]
    return (
        documents.masked + count <= MOST_MASKED * documents.partitions.rows
        and all(map(_is_masked_by_id, manifest.tables))
        and all(map(_masks, manifest.indexes.values()))
    )


def _is_masked_by_id(label: str) -> bool:
    key = TableKey.parse(label)
    return key in (DOCUMENTS, CHUNKS, ERRORS) or (key.family in _FAMILIES and not key.part)


def _masks(index: IndexEntry) -> bool:
    try:
        return KINDS.find(index.type).masks
    except RecipeError:
        return False


def write_tombstones(store: Store, manifest: Manifest, keys: Sequence[str], log: ChangeLog) -> Artifact:
    """Publish the ids of the documents of some keys, which are there, and of all that is of them."""
    ids = _find_ids(store, manifest, keys)
    attempt = store.files.attempt()
    digests = []
    for name in ids._fields:
        column: Int64s = getattr(ids, name)
        schema = row_schema(**{name: pa.int64()})
        parquet.write(attempt / f"{name}.parquet", TableSpec(schema), to_table([column], schema).to_batches())
        digests.append(sha256(attempt / f"{name}.parquet"))
    label = f"+{log.layer:06d}"
    return store.publish(attempt, TOMBSTONES.path, label, fingerprint(digests), rows=len(ids.doc_id), as_folder=True)


def _find_ids(store: Store, manifest: Manifest, keys: Sequence[str]) -> Tombstones:
    found = find_documents(store, manifest, keys)
    none = np.zeros(0, np.int64)
    doc_ids = np.sort(np.fromiter((document.doc_id for document in found.values()), np.int64, len(found)))
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
        path = store.files.local(part.file(".parquet"))
        chosen = ids.mask("doc_id", parquet.column(path, "doc_id"))
        if chosen.any():
            found.append(parquet.column(path, table.id_column)[chosen])
    return np.sort(np.concatenate(found))
