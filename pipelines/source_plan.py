"""What is known of source files: their splits and hashes, remembered while the files stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mnemodex.pipelines.sources import open_source
from mnemodex.pipelines.sources.base import Split
from mnemodex.pipelines.sources.packing import Packing
from mnemodex.schemas.kinds import SOURCES
from mnemodex.schemas.manifest import fingerprint
from mnemodex.schemas.store.files import sha256
from mnemodex.schemas.store.sealed import seal, unseal

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnemodex.schemas.spec import Spec
    from mnemodex.schemas.store.store import Store

PACKING = Packing()


def source_splits(store: Store, source: Spec) -> list[Split]:
    """Return the splits of the recipe's source.

    Raises:
        SourceError: the source is missing, or not one of its format.
    """
    opened = open_source(source, PACKING)
    path: str | None = getattr(source, "path", None)

    def plan() -> list[str]:
        return [split.to_json() for split in opened.plan()]

    if path is None:
        texts = plan()
    else:
        # A format that is told from the path is one of ours.
        named: str | None = getattr(source, "format", None)
        reader = SOURCES.find(named).version if named is not None else ""
        decided = [source.model_dump(mode="json"), PACKING.identity(), reader]
        texts = _remembered(store, "plan", Path(path), decided, plan)
    return [Split.from_json(text) for text in texts]


def content_of(store: Store, path: str) -> str:
    """Return the SHA-256 of a file that the recipe names."""
    return _remembered(store, "content", Path(path), None, lambda: [sha256(Path(path))])[0]


def _remembered(store: Store, name: str, path: Path, settings: object, find: Callable[[], list[str]]) -> list[str]:
    """Return what was found of a file or folder before, while its size, times and inodes are what they were."""
    begin = f"{name}-{fingerprint(str(path))[:8]}-"
    memo = f"work/{begin}{fingerprint(file_state(path), settings)}.json"
    # A damaged memo does no harm: what it says is found again.
    texts: list[str] | None = unseal(store.files.read(memo)) if store.files.exists(memo) else None
    if texts is None:
        texts = find()
        for old in store.files.names("work"):
            if old.startswith(begin):
                store.files.remove(f"work/{old}")
        store.files.write(memo, seal(texts))
    return texts


def file_state(root: Path) -> list[tuple[str, int, int, int, int]]:
    """Return what tells that a file, or one below a folder, is another: names, sizes, times and inodes."""
    files = sorted(root.rglob("*")) if root.is_dir() else [root]
    state = []
    for file in files:
        stat = file.stat()
        state.append((file.as_posix(), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino))
    return state
