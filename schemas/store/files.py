"""The one door to a memory's files.

Only this package touches the file system, so that object stores fit behind it later.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import uuid
from typing import TYPE_CHECKING

from mnemodex.schemas.errors import CommitFailedError, CommitStateUnknownError, CorruptFileError, WriterBusyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mnemodex.schemas.manifest import FileEntry


_ROOM = 1 << 20
"""Bytes below which a disk counts as full."""


def _make_folder(path: Path) -> None:
    """Make a folder and the parents that it lacks, each on disk in its own parent."""
    if path.is_dir():
        return
    _make_folder(path.parent)
    path.mkdir(exist_ok=True)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Put a file, or the names in a folder, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, read as a stream."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class LocalFiles:
    """A memory's folder on a local file system; every path argument is relative to it, with forward slashes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._trusted: dict[str, tuple[int, int, int, str]] = {}

    def local(self, path: str) -> Path:
        """Return the path for libraries that open files themselves (FAISS, numpy, Parquet).

        Raises:
            CorruptFileError: a link leads out of the folder.
        """
        local = self.root / path
        if not local.resolve().is_relative_to(self.root.resolve()):
            raise CorruptFileError(f"{local}: leads out of the memory's folder; remove the link")
        return local

    def make(self) -> None:
        """Make the memory's folder if it is not there."""
        _make_folder(self.root)

    def is_full(self) -> bool:
        """Return whether the disk has no room left: libraries in C often fail without saying that this is why."""
        return shutil.disk_usage(self.root).free < _ROOM

    def exists(self, path: str) -> bool:
        """Return whether the file or folder is there."""
        return (self.root / path).exists()

    def size(self, path: str) -> int | None:
        """Return the file's bytes, or None where there is no such file."""
        try:
            return (self.root / path).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, path: str) -> bytes:
        """Return the whole file."""
        return self.local(path).read_bytes()

    def walk(self, folder: str) -> Iterator[str]:
        """Yield every file below the folder, sorted."""
        base = self.root / folder
        for path in sorted(base.rglob("*")):
            if path.is_file() or path.is_symlink():
                yield path.relative_to(self.root).as_posix()

    def names(self, folder: str) -> list[str]:
        """Return the names of the folder's entries, sorted; none where there is no such folder."""
        base = self.root / folder
        return sorted(entry.name for entry in base.iterdir()) if base.is_dir() else []

    def attempt(self) -> Path:
        """Make a new empty folder below `work/`, with a name that no other process has."""
        path = self.root / "work" / f"attempt-{uuid.uuid4().hex}"
        path.mkdir(parents=True)
        return path

    def entry(self, local: Path, path: str) -> tuple[str, int, str]:
        """Return path, bytes and SHA-256 of a file that is about to be moved to `path`."""
        return path, local.stat().st_size, sha256(local)

    def move(self, local: Path, path: str) -> None:
        """Put a finished file in place: content on disk first, then the name."""
        target = self.root / path
        _make_folder(target.parent)
        _sync(local)
        local.replace(target)
        _sync(target.parent)

    def move_folder(self, local: Path, path: str) -> None:
        """Put a finished folder in place in one step; a damaged one that stood there is set aside below `work/`."""
        target = self.root / path
        _make_folder(target.parent)
        for file in local.rglob("*"):
            _sync(file)
        _sync(local)
        if target.exists():
            target.replace(self.attempt() / "damaged")
        local.replace(target)
        _sync(target.parent)

    def write(self, path: str, data: bytes) -> None:
        """Write a small file so that it is there whole or not at all, replacing what was there."""
        with self._draft(data) as draft:
            self.move(draft, path)

    def create(self, path: str, data: bytes) -> None:
        """Create a small file, whole or not at all.

        Raises:
            CommitFailedError: there is one of that name, or it could not be written.
        """
        target = self.root / path
        try:
            _make_folder(target.parent)
            with self._draft(data) as draft:
                # A hard link is create-exclusive and shows the whole content at once, which O_EXCL and write do not.
                target.hardlink_to(draft)
                _sync(target.parent)
        except OSError as error:
            if isinstance(error, FileExistsError) and target.exists():
                msg = f"{target} already exists: another writer committed first; run the build again"
            else:
                msg = (
                    f"{target} could not be written ({error}); the former snapshot is current; correct that and "
                    "build again"
                )
            raise CommitFailedError(msg) from error

    def point(self, path: str, data: bytes) -> None:
        """Move a pointer file to new content; the last step of a commit.

        Raises:
            CommitFailedError: nothing changed.
            CommitStateUnknownError: the name may have changed, but could not be made durable.
        """
        target = self.root / path
        try:
            with self._draft(data) as draft:
                draft.replace(target)
        except OSError as error:
            raise CommitFailedError(
                f"{target} could not be replaced ({error}); the former snapshot is current; correct it and build again"
            ) from error
        try:
            _sync(self.root)
        except OSError as error:
            msg = f"{target} was replaced, but the disk did not confirm it ({error}); check `mnemodex show` first"
            raise CommitStateUnknownError(msg) from error

    @contextlib.contextmanager
    def _draft(self, data: bytes) -> Iterator[Path]:
        folder = self.attempt()
        try:
            draft = folder / "draft"
            draft.write_bytes(data)
            _sync(draft)
            yield draft
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def remove(self, path: str) -> None:
        """Remove a file or a folder with all below it, if it is there."""
        target = self.root / path
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target, ignore_errors=True)
        else:
            target.unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self, folder: str = ".", *, wait: bool = False) -> Iterator[None]:
        """Hold the folder's lock. The operating system drops it when the process dies, however it dies.

        Raises:
            WriterBusyError: another process holds it, and `wait` is off.
        """
        path = self.root / folder
        _make_folder(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as error:
                raise WriterBusyError(
                    f"{self.root}: another build is writing to this memory; wait for it to end, or stop it, and run "
                    "again"
                ) from error
            yield
        finally:
            os.close(descriptor)

    def check(self, entry: FileEntry, *, again: bool = False) -> Path:
        """Return the local path of a file that a manifest or marker names, compared with its checksum.

        That is done once a process while its size, times and inode stay as they are, or again.

        Raises:
            CorruptFileError: the file is missing, cannot be read, or differs.
        """
        local = self.local(entry.path)
        try:
            self._compare(local, entry, again=again)
        except FileNotFoundError:
            raise CorruptFileError(f"{local}: missing; run the build again") from None
        except OSError as error:
            msg = f"{local}: cannot be read ({error.strerror}); correct that, or remove it and run the build again"
            raise CorruptFileError(msg) from error
        return local

    def _compare(self, local: Path, entry: FileEntry, *, again: bool) -> None:
        stat = local.stat()
        seen = (stat.st_size, stat.st_ctime_ns, stat.st_ino, entry.sha256)
        if not again and self._trusted.get(entry.path) == seen:
            return
        if stat.st_size != entry.bytes:
            msg = f"{local}: has {stat.st_size} bytes where the manifest says {entry.bytes}; remove it and build again"
            raise CorruptFileError(msg)
        if sha256(local) != entry.sha256:
            raise CorruptFileError(f"{local}: differs from its checksum; remove it and run the build again")
        self._trusted[entry.path] = seen
