"""The names of the fields that documents have in their metadata."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mnemodex.retrievers.sql_views import dataset
from mnemodex.schemas.tables import DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mnemodex.retrievers.snapshot import Snapshot


def stored_fields(snapshot: Snapshot) -> list[str]:
    """Return the names of the fields of all documents of a snapshot, in order; `a.b` is the field b of the object a.

    All metadata is read.
    """
    import duckdb

    if not len(snapshot.manifest.tables[DOCUMENTS.label].partitions):
        return []
    rows = dataset(snapshot, DOCUMENTS.label)
    with duckdb.connect(":memory:") as connection:
        connection.register("documents", rows)
        found = connection.execute("SELECT json_group_structure(metadata::JSON) FROM documents").fetchone()
    # Without a row there is no structure.
    structure = json.loads(found[0]) if found is not None and found[0] is not None else {}
    return sorted(field_names(structure)) if isinstance(structure, dict) else []


def field_names(metadata: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the fields of an object, and of objects in it."""
    for name, value in metadata.items():
        yield name
        if isinstance(value, dict):
            yield from (f"{name}.{inner}" for inner in field_names(value))
