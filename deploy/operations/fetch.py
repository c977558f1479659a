"""`fetch`: documents by their keys, chunks by their ids."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import model_validator

from mnemodex.deploy.operations.base import Form, check_number
from mnemodex.indexers.arrays import find_ids
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.deploy.access import Access
    from mnemodex.deploy.memories import Served
    from mnemodex.indexers.arrays import Int64s
    from mnemodex.retrievers.snapshot import Snapshot

_LONGEST_ID = 20
_DOCUMENT = ("doc_id", "key", "title", "text", "metadata")
_CHUNK = ("chunk_id", "doc_id", "title", "text", "start", "end")


class FetchForm(Form):
    """Documents or chunks that are asked for.

    Attributes:
        keys: of documents, as the source has them.
        chunk_ids: of chunks, as searches give them.
    """

    keys: list[str] | None = None
    chunk_ids: list[str] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.keys is None) == (self.chunk_ids is None):
            raise ValueError("give either keys or chunk_ids")
        return self


def fetch(served: Served, request: FetchForm, access: Access) -> dict[str, Any]:
    """Return documents or chunks, in the order of the request; what the memory lacks is `missing`."""
    access.admit("search", served.name)
    snapshot, where = served.memory.snapshot, access.where_of(None)
    allowed = None if where is None else served.memory.ids_where(where)
    names = request.keys or request.chunk_ids or []
    check_number("keys" if request.chunk_ids is None else "chunk_ids", names, served.limits.questions)
    if request.chunk_ids is None:
        found = {row["key"]: row for row in _documents(snapshot, names, allowed)}
    else:
        found = {row["chunk_id"]: row for row in _chunks(snapshot, names, allowed)}
    rows = [found[name] for name in dict.fromkeys(names) if name in found]
    return {
        "memory": served.name,
        "snapshot": served.snapshot,
        "documents": rows if request.chunk_ids is None else [],
        "chunks": rows if request.chunk_ids is not None else [],
        "missing": [name for name in dict.fromkeys(names) if name not in found],
    }


def _documents(snapshot: Snapshot, keys: list[str], allowed: Int64s | None) -> Iterator[dict[str, Any]]:
    """Yield documents; of those with chunks that are not allowed, none."""
    wanted = pa.array([key for key in keys if _is_unicode(key)], pa.string())
    for part in snapshot.manifest.tables[DOCUMENTS.label].partitions:
        path = snapshot.path(DOCUMENTS.label, part.label)
        there = pc.is_in(parquet.read(path, columns=["key"])["key"], wanted)
        numbers = snapshot.live_documents(part.label, np.flatnonzero(np.asarray(there)))
        for row in snapshot.take(DOCUMENTS.label, part.label, numbers.tolist(), _DOCUMENT).to_pylist():
            if allowed is None or _is_allowed(snapshot, part.label, row["doc_id"], allowed):
                yield _shown(row)


def _is_allowed(snapshot: Snapshot, label: str, document: int, allowed: Int64s) -> bool:
    """Return whether all chunks of a document, of which there are some, are allowed."""
    chunks = snapshot.column(CHUNKS.label, label, "chunk_id")
    own = chunks[snapshot.column(CHUNKS.label, label, "doc_id") == document]
    return len(own) > 0 and bool(np.isin(own, allowed).all())


def _chunks(snapshot: Snapshot, names: list[str], allowed: Int64s | None) -> Iterator[dict[str, Any]]:
    """Yield chunks that are allowed, with the keys and the metadata of their documents."""
    numbers = [int(name) for name in names if name.isascii() and name.isdigit() and len(name) < _LONGEST_ID]
    wanted = np.array([number for number in numbers if number < 1 << 63], np.int64)
    wanted = wanted[~snapshot.tombstones.mask("chunk_id", wanted)]
    if allowed is not None:
        wanted = wanted[np.isin(wanted, allowed)]
    for part in snapshot.manifest.tables[CHUNKS.label].partitions:
        rows = np.flatnonzero(np.isin(snapshot.column(CHUNKS.label, part.label, "chunk_id"), wanted))
        if not len(rows):
            continue
        chunks = snapshot.take(CHUNKS.label, part.label, rows.tolist(), _CHUNK).to_pylist()
        # A chunk's document is in the documents' partition of the same label.
        ids = np.array([chunk["doc_id"] for chunk in chunks], np.int64)
        places = find_ids(snapshot.column(DOCUMENTS.label, part.label, "doc_id"), ids)
        documents = snapshot.take(DOCUMENTS.label, part.label, places.tolist(), ["key", "metadata"]).to_pylist()
        for chunk, document in zip(chunks, documents, strict=True):
            yield _shown(chunk | document)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as JSON: its ids are strings, which do not fit a JavaScript number."""
    ids = {name: str(row[name]) for name in ("doc_id", "chunk_id") if name in row}
    return row | ids | {"metadata": json.loads(row["metadata"])}


def _is_unicode(text: str) -> bool:
    """Return whether a text has no lone surrogate, which no key has."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
