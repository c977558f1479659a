"""Files that a recipe names: whether they are others than before, and hashes that are remembered until then."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mnemodex.pipelines.sources.reading import file_state, list_files
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.manifest import fingerprint
from mnemodex.schemas.store.local_files import sha256
from mnemodex.schemas.store.sealed import seal, unseal

if TYPE_CHECKING:
    from mnemodex.schemas.store.store import Store


def content_of(store: Store, path: str) -> str:
    """Return the SHA-256 of a file that the recipe names."""
    begin = f"content-{fingerprint(path)[:8]}-"
    memo = f"work/{begin}{fingerprint(file_state(Path(path)))}.json"
    content: str | None = None
    # Another writer may remove it. A damaged one does no harm: the file is hashed again.
    with suppress(FileNotFoundError):
        content = unseal(store.files.read(memo))
    if content is None:
        content = sha256(Path(path))
        for old in store.files.names("work"):
            if old.startswith(begin):
                store.files.delete(f"work/{old}")
        store.files.put(memo, seal(content))
    return content


def folder_state(root: Path) -> list[tuple[str, tuple[int, ...]]]:
    """Return what tells that a file, or one below a folder, is another than before."""
    if not root.is_dir():
        return [(root.as_posix(), file_state(root))]
    found: list[tuple[str, tuple[int, ...]]] = []
    for path in (f"{root.as_posix()}/{path}" for path in list_files(root, hidden=True)):
        # A link to nothing has no content; who needs it says so.
        with suppress(SourceError):
            found.append((path, file_state(path)))
    return found
