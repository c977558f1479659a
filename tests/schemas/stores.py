"""Small results and manifests, for tests of the store alone."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from mnemodex.schemas.manifest import Artifacts, IndexEntry, Manifest, TableEntry
from mnemodex.schemas.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from mnemodex.schemas.manifest import Artifact


def publish(store: Store, place: str, content: str = "content", *, rows: int = 1) -> Artifact:
    """Publish one result at `tables/NAME/LABEL-FINGERPRINT` or `indexes/NAME/LABEL-FINGERPRINT`."""
    folder, _, name = place.rpartition("/")
    label, _, fingerprint = name.rpartition("-")
    attempt = store.files.attempt()
    (attempt / "data.txt").write_text(content)
    if folder.startswith("indexes/"):
        (attempt / "inner").mkdir()
        (attempt / "inner" / "more.txt").write_text(content * 2)
    return store.publish(attempt, folder, label, fingerprint, rows=rows, as_folder=folder.startswith("indexes/"))


def find(store: Store, place: str) -> Artifact | None:
    return store.whole(place)


def commit(store: Store, *places: str, recipe_hash: str = "recipe") -> Manifest:
    """Publish results and commit them."""
    made = manifest([publish(store, place) for place in places], recipe_hash=recipe_hash)
    return store.commit(made, former=store.current())


def manifest(artifacts: Sequence[Artifact], *, recipe_hash: str = "recipe") -> Manifest:
    """A manifest of results; `commit` fills in its name and parent."""
    tables: dict[str, list[Artifact]] = {}
    indexes: dict[str, list[Artifact]] = {}
    for artifact in artifacts:
        kind, _, rest = artifact.place.partition("/")
        (tables if kind == "tables" else indexes).setdefault(rest.rpartition("/")[0], []).append(artifact)
    return Manifest(
        name="",
        parent=None,
        parent_sha256=None,
        created="",
        recipe={},
        recipe_hash=recipe_hash,
        tables={name: TableEntry(name=name, partitions=Artifacts(parts)) for name, parts in tables.items()},
        indexes={
            name: IndexEntry(
                name=name,
                type="bm25",
                settings={},
                fingerprint="f",
                rows=sum(part.rows for part in parts),
                shards=Artifacts(parts),
            )
            for name, parts in indexes.items()
        },
        versions={},
    )


def read_back(whole: Manifest) -> Manifest:
    """A manifest as its file says it, with what it names in the file itself."""
    content = json.loads(whole.to_bytes())
    content.pop("sha256")
    return Manifest.model_validate(content)


def hold_the_lock(root: str, pipe: Connection) -> None:
    """For a process of its own: take the lock, say so, and keep it."""
    with Store(root).lock():
        pipe.send("held")
        time.sleep(600)


def commit_on_and_on(root: str) -> None:
    """For a process of its own: commit growing snapshots without end."""
    store = Store(root)
    places = ["tables/notes/a-f0"]
    with store.lock():
        while True:
            places += [f"tables/notes/{len(places)}-f", f"indexes/words/{len(places)}-f"]
            commit(store, *places)
