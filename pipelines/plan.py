"""The plan of a source: its splits, remembered while its files stay as they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mnemodex.pipelines.sources.base import Split
from mnemodex.schemas.manifest import fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from mnemodex.pipelines.sources.base import Source
    from mnemodex.schemas.store.store import Store


def plan(store: Store, source: Source, root: Path, settings: object) -> list[Split]:
    """The source's splits, planned anew when a file's size, times or inode differ from the last plan's."""
    state = fingerprint(file_state(root), settings)
    path = f"work/plan-{state}.json"
    if store.files.exists(path):
        texts = read_memo(store.files.read(path))
        # A damaged memo is no harm: planning is repeated.
        if texts is not None:
            return [Split.from_json(text) for text in texts]
    splits = source.plan()
    texts = [split.to_json() for split in splits]
    for name in store.files.names("work"):
        if name.startswith("plan-"):
            store.files.remove(f"work/{name}")
    store.files.write(path, _memo(texts))
    return splits


def _memo(texts: list[str]) -> bytes:
    return json.dumps({"splits": texts, "fingerprint": fingerprint(texts)}).encode()


def read_memo(data: bytes) -> list[str] | None:
    """The splits (JSON) of a remembered plan, or None where it is damaged."""
    try:
        texts: list[str] = json.loads(data)["splits"]
        return texts if _memo(texts) == data else None
    except (ValueError, KeyError, TypeError):
        return None


def file_state(root: Path) -> list[tuple[str, int, int, int, int]]:
    """What tells that a file, or one below a folder, is another: names, sizes, times and inodes."""
    files = sorted(root.rglob("*")) if root.is_dir() else [root]
    state = []
    for file in files:
        stat = file.stat()
        state.append((file.as_posix(), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino))
    return state
