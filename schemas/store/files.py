"""The one door to a memory's files, which lie in a local folder or in an object store."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from mnemodex.schemas.manifest import FileEntry
    from mnemodex.schemas.store.object_url import Root


LARGEST = 1 << 28
"""Bytes of the largest file that is read whole: manifests, lists, markers, answers."""

LEASE = "LEASE"
"""The file that is locked, or the object that is renewed, while a build writes to the memory."""


class Files(Protocol):
    """What the store asks of the place where a memory lies; paths are relative to it, with forward slashes.

    A file is deleted by its writer, or by a collection, which holds the lease and deletes what no snapshot names. Only
    small files that can be made again are changed under their names. Neither a file system nor an object store needs a
    lock for that.

    Attributes:
        root: where the memory lies.
        scratch: the local folder below which attempts lie, whose paths are as below the memory.
        knows_readers: whether `lock_out` finds out that a reader has a file pinned.
        missing: what errors say of a file that a manifest or marker names and that is not there.
    """

    root: Root
    scratch: Path
    knows_readers: bool
    missing: str

    def make(self) -> None:
        """Make the memory's folder if it is not there."""

    def is_made(self) -> bool:
        """Return whether there may be a memory."""

    def is_full(self) -> bool:
        """Return whether the local disk has no room left: libraries in C often fail without saying that this is why."""

    def exists(self, path: str) -> bool:
        """Return whether the file is there."""

    def size(self, path: str) -> int | None:
        """Return the file's bytes, or None where there is no such file."""

    def open_input(self, path: str) -> BinaryIO:
        """Open the file for reading; `FileNotFoundError` where there is none."""

    def read(self, path: str, *, most: int = LARGEST, sha256: str | None = None) -> bytes:
        """Return the whole file; `FileNotFoundError` where there is none, `OSError` where it has more bytes.

        What is read may come from a local copy that has the checksum `sha256`; whether it has is the caller's to check.
        """

    def names(self, folder: str) -> Sequence[str]:
        """Return the names of the folder's entries, sorted; none where there is no such folder."""

    def list(self, folder: str, *, before: datetime | None = None) -> Iterator[str]:
        """Yield the path of every file below the folder, sorted; of those alone that were written before a time."""

    def put(self, path: str, data: bytes | Path) -> None:
        """Put bytes or a finished local file in their place, whole or not at all, replacing what was there."""

    def put_all(self, files: Iterable[tuple[Path, FileEntry]]) -> None:
        """Put finished local files in their places, durably, replacing what was there; the local ones may be gone."""

    def put_if_absent(self, path: str, data: bytes | Path) -> bool:
        """Put bytes or a finished local file in their place unless there is one; return whether they were put."""

    def put_note(self, path: str, data: bytes) -> None:
        """Put a few bytes that may be lost, or read half written."""

    def draft(self, data: bytes) -> AbstractContextManager[bytes | Path]:
        """Prepare bytes for the other methods, which then need no more room on the disk to put them."""

    def delete(self, path: str) -> None:
        """Delete a file or a folder with all below it, if it is there; also an attempt."""

    def delete_all(self, paths: Iterable[str]) -> None:
        """Delete files, durably."""

    def prune(self, folder: str) -> None:
        """Remove the empty folders below a folder."""

    def attempt(self, kind: str = "attempt") -> Path:
        """Make a new empty local folder, which is the caller's until it deletes it or its process ends."""

    def remove_abandoned(self) -> None:
        """Remove the attempts of writers that are dead. Call with the lease held."""

    def remove_own(self) -> None:
        """Remove the attempts that this object made and that are left."""

    def lease(self) -> AbstractContextManager[None]:
        """Hold the memory for writing, so that two builds do not do the same work."""

    def pin(self, path: str) -> Callable[[], None]:
        """Keep a file from being locked out until what is returned is called; `FileNotFoundError` if it is gone."""

    def lock_out(self, path: str) -> Callable[[], None] | None:
        """Keep a file from being pinned until what is returned is called; None where a reader has it pinned."""

    def path(self, path: str) -> Path:
        """Return the local path of a folder or file of which all that is needed was given by `local`."""

    def local(self, entry: FileEntry) -> Path:
        """Return the local path of a file that a manifest or marker names, compared with its checksum."""

    def unchecked(self, entry: FileEntry) -> Path:
        """Return the local path of a file, not compared: the caller checks what it reads of it."""

    def check(self, entry: FileEntry) -> None:
        """Compare a file with its checksum where it lies, whatever was compared before."""
