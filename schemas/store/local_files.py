"""A memory's folder on a local or network file system."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from typing_extensions import override

from mnemodex.schemas.errors import CorruptFileError, MnemodexError, WriterBusyError
from mnemodex.schemas.store.attempts import Attempts
from mnemodex.schemas.store.files import LARGEST, LEASE, Files
from mnemodex.schemas.store.folders import make_folder, sync
from mnemodex.schemas.store.locks import open_locked, open_shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from mnemodex.schemas.manifest import FileEntry


_ROOM = 1 << 20
"""Bytes below which a disk counts as full."""


def _status(path: Path) -> os.stat_result:
    """Return what the system says of a file; what would not end, as a named pipe, is an `OSError`."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        code = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
        raise OSError(code, os.strerror(code) if code == errno.EISDIR else "is no regular file", str(path))
    return status


def _seen(status: os.stat_result, entry: FileEntry) -> tuple[int, int, int, str]:
    """Return what differs when a file is not the one any more that was checked."""
    return status.st_size, status.st_ctime_ns, status.st_ino, entry.sha256


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, read as a stream."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class LocalFiles(Files):
    """A memory's folder on a local or network file system."""

    knows_readers = True
    missing = "missing; run the build again"

    def __init__(self, root: Path) -> None:
        self.root = self.scratch = root
        self._trusted: dict[str, tuple[int, int, int, str]] = {}
        self._attempts = Attempts(root / "work")

    @override
    def path(self, path: str) -> Path:
        local = self.root / path
        # Resolving asks for every folder from the file system's root on; there is hardly ever a link.
        if self._may_lead_out(path) and not local.resolve().is_relative_to(self.root.resolve()):
            raise CorruptFileError(f"{local}: leads out of the memory's folder; remove the link")
        return local

    def _may_lead_out(self, path: str) -> bool:
        """Whether a path below the root has a link in it, or is none below the root."""
        place, parts = str(self.root), str(path).split("/")
        if "" in parts or ".." in parts:
            return True
        for part in parts:
            place = f"{place}/{part}"
            if os.path.islink(place):  # noqa: PTH114 - making a `Path` takes longer than this
                return True
        return False

    @override
    def make(self) -> None:
        make_folder(self.root)

    @override
    def is_made(self) -> bool:
        return self.root.is_dir()

    @override
    def is_full(self) -> bool:
        return shutil.disk_usage(self.root).free < _ROOM

    @override
    def exists(self, path: str) -> bool:
        return (self.root / path).exists()

    @override
    def size(self, path: str) -> int | None:
        try:
            return (self.root / path).stat().st_size
        except FileNotFoundError:
            return None

    @override
    def open_input(self, path: str) -> BinaryIO:
        local = self.path(path)
        _status(local)
        return local.open("rb")

    @override
    def read(self, path: str, *, most: int = LARGEST, sha256: str | None = None) -> bytes:
        with self.open_input(path) as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise OSError(errno.EFBIG, f"has more than {most} bytes", path)
        return data

    @override
    def list(self, folder: str, *, before: datetime | None = None) -> Iterator[str]:
        base = self.root / folder
        for path in sorted(base.rglob("*")):
            is_file = path.is_file() or path.is_symlink()
            if is_file and (before is None or path.lstat().st_mtime < before.timestamp()):
                yield path.relative_to(self.root).as_posix()

    @override
    def names(self, folder: str) -> Sequence[str]:
        base = self.root / folder
        return sorted(entry.name for entry in base.iterdir()) if base.is_dir() else []

    @override
    def attempt(self, kind: str = "attempt") -> Path:
        return self._attempts.make(kind)

    @override
    def remove_abandoned(self) -> None:
        for path in self._attempts.take_abandoned():
            self.delete(f"work/{path.name}")

    @override
    def remove_own(self) -> None:
        for path in self._attempts.own():
            self.delete(f"work/{path.name}")

    @override
    def put_all(self, files: Iterable[tuple[Path, FileEntry]]) -> None:
        entries = list(files)
        self._move([(local, self.root / entry.path) for local, entry in entries])
        for _, entry in entries:
            # They were hashed where they were written, and are read by the next step.
            self._trusted[entry.path] = _seen(_status(self.root / entry.path), entry)

    def _move(self, moves: Sequence[tuple[Path, Path]]) -> None:
        for local, target in moves:
            make_folder(target.parent)
            sync(local)
            local.replace(target)
        for folder in dict.fromkeys(target.parent for _, target in moves):
            sync(folder)

    @override
    def put(self, path: str, data: bytes | Path) -> None:
        with self.draft(data) as draft:
            self._move([(draft, self.root / path)])

    @override
    def put_if_absent(self, path: str, data: bytes | Path) -> bool:
        target = self.root / path
        make_folder(target.parent)
        with self.draft(data) as draft:
            sync(draft)
            try:
                # A hard link is create-exclusive and shows the whole content at once, which O_EXCL and write do not.
                target.hardlink_to(draft)
            except FileExistsError:
                return False
        sync(target.parent)
        return True

    @override
    def put_note(self, path: str, data: bytes) -> None:
        make_folder((self.root / path).parent)
        (self.root / path).write_bytes(data)

    @override
    @contextlib.contextmanager
    def draft(self, data: bytes | Path) -> Iterator[Path]:
        """Write bytes to a small local file for the time of the context; a local file is one already."""
        if not isinstance(data, bytes):
            yield data
            return
        folder = self.attempt()
        try:
            draft = folder / "draft"
            draft.write_bytes(data)
            yield draft
        finally:
            self.delete(f"work/{folder.name}")

    @override
    def delete(self, path: str) -> None:
        target = self.root / path
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target, ignore_errors=True)
        else:
            target.unlink(missing_ok=True)
        self._attempts.release(target)

    @override
    def delete_all(self, paths: Iterable[str]) -> None:
        folders = set()
        for path in paths:
            self.delete(path)
            folders.add((self.root / path).parent)
        for folder in folders:
            sync(folder)

    @override
    def prune(self, folder: str) -> None:
        for path in sorted((self.root / folder).rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                with contextlib.suppress(OSError):
                    path.rmdir()

    @override
    @contextlib.contextmanager
    def lease(self) -> Iterator[None]:
        """Hold the memory for writing. The operating system lets it go when the process dies, however it dies.

        Raises:
            WriterBusyError: another build holds it.
            MnemodexError: the folder cannot be written to.
        """
        make_folder(self.root)
        try:
            descriptor = open_locked(self.root / LEASE)
        except OSError as error:
            msg = f"{self.root}: cannot be written to ({error.strerror}); make the folder writable, or choose another"
            raise MnemodexError(msg) from error
        if descriptor is None:
            raise WriterBusyError(
                f"{self.root}: another build is writing to this memory; wait for it to end, or stop it, and run again"
            )
        try:
            yield
        finally:
            os.close(descriptor)

    @override
    def pin(self, path: str) -> Callable[[], None]:
        return partial(os.close, open_shared(self.path(path)))

    @override
    def lock_out(self, path: str) -> Callable[[], None] | None:
        descriptor = open_locked(self.path(path), create=False)
        return partial(os.close, descriptor) if descriptor is not None else None

    @override
    def unchecked(self, entry: FileEntry) -> Path:
        return self.path(entry.path)

    @override
    def check(self, entry: FileEntry) -> None:
        self._local(entry, again=True)

    @override
    def local(self, entry: FileEntry) -> Path:
        """See `Files`. That is done once a process while its size, times and inode stay as they are.

        Raises:
            CorruptFileError: the file is missing, cannot be read, or differs.
        """
        return self._local(entry, again=False)

    def _local(self, entry: FileEntry, *, again: bool) -> Path:
        local = self.path(entry.path)
        try:
            self._compare(local, entry, again=again)
        except FileNotFoundError:
            raise CorruptFileError(f"{local}: {self.missing}") from None
        except OSError as error:
            msg = f"{local}: cannot be read ({error.strerror}); correct that, or remove it and run the build again"
            raise CorruptFileError(msg) from error
        return local

    def _compare(self, local: Path, entry: FileEntry, *, again: bool) -> None:
        status = _status(local)
        seen = _seen(status, entry)
        if not again and self._trusted.get(entry.path) == seen:
            return
        if status.st_size != entry.bytes:
            msg = (
                f"{local}: has {status.st_size} bytes where the manifest says {entry.bytes}; remove it and build again"
            )
            raise CorruptFileError(msg)
        if sha256(local) != entry.sha256:
            raise CorruptFileError(f"{local}: differs from its checksum; remove it and run the build again")
        self._trusted[entry.path] = seen
