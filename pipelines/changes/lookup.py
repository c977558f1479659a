"""Which documents a snapshot has."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemodex.retrievers.judgements import nearest_key
from mnemodex.retrievers.memory import Memory
from mnemodex.retrievers.snapshot import Snapshot
from mnemodex.retrievers.tombstones import read_tombstones
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers, to_column
from mnemodex.schemas.tables import DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mnemodex.schemas.manifest import Manifest
    from mnemodex.schemas.store.store import Store


class Found(NamedTuple):
    """A document that is there: its id, and the hash of its content."""

    doc_id: int
    content: str


def find_documents(store: Store, manifest: Manifest, keys: Collection[str]) -> dict[str, Found]:
    """Return those documents that are there, by key; partition by partition."""
    wanted = to_column(list(keys), pa.string())
    tombstones = read_tombstones(store, manifest.tombstones)
    found: dict[str, Found] = {}
    for part in manifest.tables[DOCUMENTS.label].partitions:
        # Pages are checked as they are read.
        path = store.files.unchecked(part.file(".parquet"))
        rows = parquet.read(path, columns=["doc_id", "key", "content_hash"])
        rows = rows.filter(pc.is_in(rows["key"], value_set=wanted))
        live = np.flatnonzero(~tombstones.mask("doc_id", numbers(rows["doc_id"])))
        columns = (rows[name].take(to_column(live, pa.int64())).to_pylist() for name in rows.schema.names)
        found.update((key, Found(doc_id, content)) for doc_id, key, content in zip(*columns, strict=True))
    return found


def check_keys(store: Store, manifest: Manifest, keys: Sequence[str], found: Collection[str]) -> None:
    """Refuse keys of which there is no document.

    Raises:
        QueryError: names the first one, and the key that is most like it.
    """
    missing = [key for key in dict.fromkeys(keys) if key not in found]
    if not missing:
        return
    memory = Memory.of(Snapshot(store, manifest), objects={})
    near = nearest_key(memory, missing[0])
    memory.close()
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    hint = f"; did you mean {near!r}?" if near else ""
    raise QueryError(f"{store.root}: no document has the key {missing[0]!r}{more}{hint}")


def keys_where(store: Store, manifest: Manifest, where: str) -> list[str]:
    """Return the keys of the documents that a boolean expression keeps.

    Raises:
        QueryError: it is no such expression over the columns of documents.
    """
    memory = Memory.of(Snapshot(store, manifest), objects={})
    try:
        return memory.keys_where(where)
    finally:
        memory.close()
