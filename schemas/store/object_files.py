"""A memory in an object store."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import threading
import weakref
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, BinaryIO

from typing_extensions import override

from mnemodex.schemas.errors import CorruptFileError, NodeCacheError, ObjectStoreError
from mnemodex.schemas.store.files import LARGEST, Files
from mnemodex.schemas.store.local_files import LocalFiles
from mnemodex.schemas.store.node_cache import FOLDER, NodeCache
from mnemodex.schemas.store.object_client import ObjectClient
from mnemodex.schemas.store.object_lease import hold_lease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from mnemodex.schemas.manifest import FileEntry
    from mnemodex.schemas.store.object_url import ObjectUrl

_TRIES = 4
"""To have a copy of a file."""

_ABANDONED = timedelta(days=1)
"""Age from which a run's objects count as abandoned: runs have no locks in an object store."""


class ObjectFiles(Files):
    """A memory in an object store; what is read of it is kept in the node's cache."""

    knows_readers = False
    missing = "missing; if `gc` removed its snapshot, open the memory again, else run the build again"

    def __init__(self, root: ObjectUrl) -> None:
        self.root = root
        self._client = ObjectClient(root)
        self._cache = NodeCache()
        self.scratch = self._cache.view
        self._attempts = LocalFiles(self.scratch)
        self._lock = threading.Lock()
        self._runs: set[str] = set()
        # Of write-once files, while the lease is held, since no other writer removes one meanwhile.
        self._sizes: dict[str, dict[str, int]] | None = None
        self.close = weakref.finalize(self, _close, self._cache, os.getpid())

    @override
    def make(self) -> None:
        """See `Files`; a folder needs no making, but the bucket must be there."""
        self._client.entries("")

    @override
    def is_made(self) -> bool:
        return True

    @override
    def is_full(self) -> bool:
        return self._attempts.is_full()

    @override
    def exists(self, path: str) -> bool:
        return self._client.head(path) is not None

    @override
    def size(self, path: str) -> int | None:
        if self._sizes is not None and path.startswith(("tables/", "indexes/")):
            folder = "/".join(path.split("/")[:2])
            if folder not in self._sizes:
                self._sizes[folder] = {item["path"]: item["size"] for item in self._client.below(folder)}
            # What was put since it was listed is asked for.
            if path in self._sizes[folder]:
                return self._sizes[folder][path]
        head = self._client.head(path)
        return head["size"] if head is not None else None

    @override
    def open_input(self, path: str) -> BinaryIO:
        return io.BytesIO(self.read(path))

    @override
    def read(self, path: str, *, most: int = LARGEST, sha256: str | None = None) -> bytes:
        kept = self._cache.read(sha256) if sha256 is not None else None
        if kept is not None and hashlib.sha256(kept).hexdigest() == sha256:
            return kept
        answer = self._client.get(path)
        if answer.meta["size"] > most:
            raise OSError(errno.EFBIG, f"has more than {most} bytes", path)
        data = b"".join(self._client.rest(path, answer))
        if sha256 is not None and hashlib.sha256(data).hexdigest() == sha256:
            self._cache.add([data])
        return data

    @override
    def names(self, folder: str) -> Sequence[str]:
        return sorted(self._client.entries("" if folder == "." else folder))

    @override
    def list(self, folder: str, *, before: datetime | None = None) -> Iterator[str]:
        items = self._client.below(folder)
        yield from sorted(item["path"] for item in items if before is None or item["last_modified"] < before)

    @override
    def put(self, path: str, data: bytes | Path) -> None:
        self._client.put(path, data)

    @override
    def put_all(self, files: Iterable[tuple[Path, FileEntry]]) -> None:
        for local, entry in files:
            self._client.put(entry.path, local)
            # A later step reads it.
            self._cache.take(local, entry)

    @override
    def put_if_absent(self, path: str, data: bytes | Path) -> bool:
        return self._client.create(path, data if isinstance(data, bytes) else data.read_bytes()) is not None

    @override
    def put_note(self, path: str, data: bytes) -> None:
        self._client.put(path, data)

    @override
    @contextlib.contextmanager
    def draft(self, data: bytes) -> Iterator[bytes | Path]:
        yield data

    @override
    def delete(self, path: str) -> None:
        local = self.scratch / path
        self._attempts.delete(path)
        # An attempt has no objects.
        if local.parent == self.scratch / "work" and local.name.startswith("attempt-"):
            return
        self._runs.discard(path)
        self._sizes = {} if self._sizes is not None else None
        self._client.delete([path, *self.list(path)])

    @override
    def delete_all(self, paths: Iterable[str]) -> None:
        self._sizes = {} if self._sizes is not None else None
        self._client.delete(list(paths))

    @override
    def prune(self, folder: str) -> None:
        """See `Files`; there are no empty folders."""

    @override
    def attempt(self, kind: str = "attempt") -> Path:
        path = self._attempts.attempt(kind)
        if kind != "attempt":
            self._runs.add(f"work/{path.name}")
        return path

    @override
    def remove_abandoned(self) -> None:
        since = datetime.now(UTC) - _ABANDONED
        old = self.list("work", before=since)
        self._client.delete([path for path in old if path.startswith(("work/run-", "work/probe-"))])

    @override
    def remove_own(self) -> None:
        self._attempts.remove_own()
        for path in list(self._runs):
            with contextlib.suppress(ObjectStoreError):
                self.delete(path)

    @override
    @contextlib.contextmanager
    def lease(self) -> Iterator[None]:
        """Hold the memory for writing, at first after having asked whether the store can do what that needs.

        Raises:
            WriterBusyError: another build holds it.
            ObjectStoreRefusedError: the store has no conditional put, or refuses.
        """
        self._client.probe()
        with hold_lease(self._client):
            self._sizes = {}
            try:
                yield
            finally:
                self._sizes = None

    @override
    def pin(self, path: str) -> Callable[[], None]:
        """See `Files`; an object cannot be locked: a collection keeps young objects instead."""
        return _nothing

    @override
    def lock_out(self, path: str) -> Callable[[], None] | None:
        return _nothing

    @override
    def path(self, path: str) -> Path:
        return self._attempts.path(path)

    @override
    def local(self, entry: FileEntry) -> Path:
        """See `Files`. It is read by one request, unless the node has a copy.

        Raises:
            CorruptFileError: the file is missing, or differs.
            NodeCacheError: this machine cannot keep it.
        """
        # Threads that need one file read it once, and none takes it away from another.
        with self._lock:
            # Another process may evict a copy before it is linked.
            for _ in range(_TRIES):
                local = self._cache.link(entry)
                if local is not None:
                    return local
                try:
                    answer = self._client.get(entry.path)
                except FileNotFoundError:
                    raise CorruptFileError(f"{self.root / entry.path}: {self.missing}") from None
                self._compare(entry, *self._cache.add(self._client.rest(entry.path, answer)))
        raise NodeCacheError(
            f"{self.root / entry.path}: no copy on this machine stays as it was written; check its disk, or set "
            f"{FOLDER} to a folder on another one"
        )

    @override
    def unchecked(self, entry: FileEntry) -> Path:
        return self.local(entry)

    @override
    def check(self, entry: FileEntry) -> None:
        digest, count = hashlib.sha256(), 0
        try:
            for part in self._client.parts(entry.path):
                digest.update(part)
                count += len(part)
        except FileNotFoundError:
            raise CorruptFileError(f"{self.root / entry.path}: {self.missing}") from None
        self._compare(entry, digest.hexdigest(), count)

    def _compare(self, entry: FileEntry, sha256: str, count: int) -> None:
        where = self.root / entry.path
        if count != entry.bytes:
            raise CorruptFileError(
                f"{where}: has {count} bytes where the manifest says {entry.bytes}; remove it and build again"
            )
        if sha256 != entry.sha256:
            raise CorruptFileError(f"{where}: differs from its checksum; remove it and run the build again")


def _nothing() -> None:
    """Do nothing: no lock is held."""


def _close(cache: NodeCache, process: int) -> None:
    """Remove the process's folder in the cache, not by a fork of it."""
    if os.getpid() == process:
        cache.close()
