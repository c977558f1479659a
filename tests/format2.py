"""A memory of format 2, as the version before list files wrote it; frozen."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from typing import TYPE_CHECKING, Any

from mnemodex.schemas.manifest import Artifacts
from mnemodex.schemas.store.store import close_marker, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from mnemodex.schemas.manifest import Artifact, IndexEntry, Manifest, TableEntry


def write_format_2(memory: Path) -> None:
    """Turn a memory into one of format 2: every snapshot lists all of its artifacts itself."""
    store, current = open_store(memory)
    parent_sha256 = None
    history = [manifest.replaced(Artifacts) for manifest in store.history(current)]
    moved: dict[str, Artifact] = {}
    for artifact in (artifact for manifest in history for artifact in manifest.artifacts()):
        if artifact.place not in moved:
            moved[artifact.place] = _move(memory, artifact)
    for former in reversed(history):
        manifest = former.replaced(lambda kept: Artifacts(moved[part.place] for part in kept))
        data = (json.dumps(_manifest(manifest, parent_sha256), ensure_ascii=False, indent=1) + "\n").encode()
        (memory / "snapshots" / f"{manifest.name}.json").write_bytes(data)
        parent_sha256 = hashlib.sha256(data).hexdigest()
    (memory / "CURRENT").write_text(f"{current.name} {parent_sha256}\n")
    for path in (memory / "snapshots" / "lists").iterdir():
        path.unlink()
    (memory / "snapshots" / "lists").rmdir()


def _move(memory: Path, artifact: Artifact) -> Artifact:
    """Give the files of a result, and its marker, the names that they had in format 2."""
    (memory / artifact.marker).unlink()
    files = [
        file.model_copy(update={"path": artifact.place + re.sub("^-[0-9a-f]+", "", file.path[len(artifact.place) :])})
        for file in artifact.files
    ]
    for former, file in zip(artifact.files, files, strict=True):
        (memory / file.path).parent.mkdir(exist_ok=True, parents=True)
        (memory / former.path).rename(memory / file.path)
    if (memory / artifact.folder).is_dir():
        shutil.rmtree(memory / artifact.folder)
    moved = artifact.model_copy(update={"files": tuple(files)})
    (memory / moved.marker).write_bytes(close_marker(moved))
    return moved


def _manifest(manifest: Manifest, parent_sha256: str | None) -> dict[str, Any]:
    return {
        "format": 2,
        "name": manifest.name,
        "parent": manifest.parent,
        "parent_sha256": parent_sha256,
        "created": manifest.created,
        "recipe": manifest.recipe,
        "recipe_hash": manifest.recipe_hash,
        "tables": {name: _table(table) for name, table in manifest.tables.items()},
        "indexes": {name: _index(index) for name, index in manifest.indexes.items()},
        "caches": {name: _table(table) for name, table in manifest.caches.items()},
        "encoders": {name: entry.model_dump(mode="json") for name, entry in manifest.encoders.items()},
        "language_models": {name: entry.model_dump(mode="json") for name, entry in manifest.language_models.items()},
        "versions": manifest.versions,
        "tombstones": [],
    }


def _table(table: TableEntry) -> dict[str, Any]:
    return {
        "name": table.name,
        "partitions": _artifacts(table.partitions),
        "id_column": table.id_column,
        "parents": table.parents,
        "identity": table.identity,
    }


def _index(index: IndexEntry) -> dict[str, Any]:
    return {
        "name": index.name,
        "type": index.type,
        "settings": index.settings,
        "fingerprint": index.fingerprint,
        "table": index.table,
        "rows": index.rows,
        "shards": _artifacts(index.shards),
        "search": index.search.model_dump(mode="json"),
        "recall": index.recall.model_dump(mode="json") if index.recall else None,
    }


def _artifacts(artifacts: Artifacts) -> list[Any]:
    return [
        {
            "label": part.label,
            "fingerprint": part.fingerprint,
            "rows": part.rows,
            "files": [{"path": file.path, "bytes": file.bytes, "sha256": file.sha256} for file in part.files],
            "stats": part.stats.model_dump(mode="json"),
            "also": list(part.also),
        }
        for part in artifacts
    ]
