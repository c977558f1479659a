"""A node's copies of files of object stores, by their SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from mnemodex.schemas.errors import NodeCacheError, ObjectStoreError, UserError, reason
from mnemodex.schemas.store.local_files import LocalFiles
from mnemodex.schemas.store.object_url import is_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mnemodex.schemas.manifest import FileEntry

FOLDER = "MNEMODEX_CACHE"
"""The environment variable that names the folder; by default `mnemodex` in the user's folder of caches."""

SIZE = "MNEMODEX_CACHE_GB"
"""The environment variable that says how large it grows, in units of 10^9 bytes."""

_DEFAULT_GB = 50.0


class NodeCache:
    """Copies of write-once files, which the processes of a node share.

    A process has a folder of its own, in which the copies that it uses are linked under the paths that they have below
    a memory: libraries open several files of one folder. A copy that no process has linked is removed, the one that was
    not used for longest first, when others need its room.

    Attributes:
        view: the folder of this process.
    """

    def __init__(self) -> None:
        root, self._most = _settings()
        self._root = root
        try:
            # What others could write there would be read instead of the memory's files.
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._copies = root / "sha256"
            self._copies.mkdir(exist_ok=True)
            own = LocalFiles(root)
            own.remove_abandoned()
            self.view = own.attempt()
        except OSError as error:
            raise UserError(
                f"{root}: cannot be written to ({error.strerror}); set {FOLDER} to a folder for copies of an object "
                "store's files"
            ) from error
        self._own = own
        self._room = 0.0
        self._known: set[str] = set()

    def close(self) -> None:
        """Remove this process's folder."""
        self._own.remove_own()

    def link(self, entry: FileEntry) -> Path | None:
        """Return the path of a copy in the process's folder; None where there is no sound one.

        Raises:
            NodeCacheError: the folder cannot be read or written, or its file system has no hard links.
        """
        with self._explaining():
            return self._link(entry)

    def _link(self, entry: FileEntry) -> Path | None:
        linked = self.view / entry.path
        if entry.path in self._known and linked.exists():
            return linked
        copy = self._copies / entry.sha256
        linked.parent.mkdir(parents=True, exist_ok=True)
        linked.unlink(missing_ok=True)
        try:
            # Before it is read, so that it is not evicted meanwhile.
            linked.hardlink_to(copy)
            status = linked.stat()
            # The copy that was used last is evicted last.
            os.utime(linked, ns=(time.time_ns(), status.st_mtime_ns))
        except FileNotFoundError:
            return None
        with linked.open("rb") as file:
            sound = status.st_size == entry.bytes and hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
        if not sound:
            linked.unlink()
            copy.unlink(missing_ok=True)
            return None
        self._known.add(entry.path)
        return linked

    def read(self, sha256: str) -> bytes | None:
        """Return the bytes of a copy; None where there is none."""
        with self._explaining():
            try:
                return (self._copies / sha256).read_bytes()
            except FileNotFoundError:
                return None

    def add(self, parts: Iterable[bytes]) -> tuple[str, int]:
        """Keep the bytes of a file; return their checksum and number.

        Raises:
            NodeCacheError: the disk has no room, or the folder cannot be written to.
        """
        draft = self.view / f".{uuid.uuid4().hex}"
        digest, count = hashlib.sha256(), 0
        with self._explaining():
            try:
                with draft.open("wb") as file:
                    for part in parts:
                        digest.update(part)
                        count += file.write(part)
                self._make_room(count)
                self._keep(draft, digest.hexdigest())
            finally:
                draft.unlink(missing_ok=True)
        return digest.hexdigest(), count

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        """Raise what the file system says as an error that names the folder: the memory's file may be sound."""
        try:
            yield
        except ObjectStoreError:
            raise
        except OSError as error:
            raise NodeCacheError(
                f"{self._root}: cannot keep copies of an object store's files ({reason(error)}); free room there, or "
                f"set {FOLDER} to a folder on another disk, or {SIZE} to fewer gigabytes than it has"
            ) from error

    def take(self, path: Path, entry: FileEntry) -> None:
        """Keep a finished local file, whose checksum is known, by moving it; without room it is fetched when read."""
        with contextlib.suppress(OSError):
            self._make_room(entry.bytes)
            self._keep(path, entry.sha256)

    def _keep(self, path: Path, sha256: str) -> None:
        path.chmod(stat.S_IRUSR)
        path.replace(self._copies / sha256)

    def _make_room(self, count: int) -> None:
        """Evict what no process has linked, as far as a new file needs the room."""
        self._room -= count
        if self._room >= 0:
            return
        copies = []
        for path in self._copies.iterdir():
            with contextlib.suppress(FileNotFoundError):
                copies.append((path, path.stat()))
        self._room = self._most - sum(status.st_size for _, status in copies) - count
        for path, status in sorted(copies, key=lambda copy: copy[1].st_atime_ns):
            if self._room >= 0:
                break
            if status.st_nlink == 1:
                path.unlink(missing_ok=True)
                self._room += status.st_size


def _settings() -> tuple[Path, float]:
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = os.environ.get(FOLDER) or f"{caches}/mnemodex"
    if is_url(folder):
        raise UserError(f"{FOLDER}: {folder!r} is no folder of this machine; give one for copies of objects")
    root = Path(folder).expanduser().absolute()
    given = os.environ.get(SIZE, str(_DEFAULT_GB))
    try:
        most = float(given) * 1e9
    except ValueError:
        most = -1
    if not 0 <= most < float("inf"):
        raise UserError(f"{SIZE}: {given[:20]!r} is no size; give a number of 10^9 bytes, as 50")
    return root, most
