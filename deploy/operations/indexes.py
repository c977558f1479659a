"""`indexes`: what a memory holds."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from mnemodex.schemas.tables import TableKey

if TYPE_CHECKING:
    from mnemodex.deploy.access import Access
    from mnemodex.deploy.memories import Served
    from mnemodex.deploy.operations.base import Form


def indexes(served: Served, request: Form, access: Access) -> dict[str, Any]:
    """Return a memory's snapshot, its tables and those of its indexes that the access is for.

    An access with a filter sees no tables and no numbers of rows and bytes, which count rows of others.
    """
    access.admit("search", served.name)
    sees_all = access.where is None
    manifest = served.memory.snapshot.manifest
    return {
        "name": served.name,
        "snapshot": manifest.name,
        "created": manifest.created,
        "tables": [
            {"name": table.name, "view": TableKey.parse(table.name).view, "rows": table.rows, "bytes": table.bytes}
            for table in manifest.tables.values()
            if sees_all
        ],
        "embeddings": [
            {"name": name, "dimension": encoder.dimension, "settings": _shown(encoder.settings)}
            for name, encoder in manifest.encoders.items()
        ],
        "indexes": [
            {
                "name": index.name,
                "type": index.type,
                "kind": served.memory.kind(index.name).hits,
                "table": index.table,
                "rows": index.rows if sees_all else None,
                "bytes": index.bytes if sees_all else None,
                "settings": _shown(index.settings),
                "recall": index.recall.model_dump(mode="json") if index.recall else None,
                "of": list(index.made_of),
                "served": index.name not in served.refused,
                "problem": served.problem(index.name),
            }
            for index in manifest.indexes.values()
            if access.sees_index(index.name)
        ],
    }


def _shown(settings: Any) -> Any:
    """Return settings with the names of files in the place of their paths, which are the server's own matter."""
    if isinstance(settings, dict):
        return {name: _shown(value) for name, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [_shown(value) for value in settings]
    if isinstance(settings, str) and PurePath(settings).is_absolute():
        return PurePath(settings).name
    return settings
