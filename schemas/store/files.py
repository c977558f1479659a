"""The one door to a memory's files.

Only this package touches the file system, so that object stores fit behind it later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mnemodex.schemas.manifest import FileEntry


class Files(Protocol):
    """What the store asks of the place where a memory lies; paths are relative to it, with forward slashes.

    Nobody but a file's writer takes it away, or who collects what no snapshot names, with the lease held; nothing is
    changed under its name but small files that can be made again: that needs no lock, on a file system or in an object
    store.
    """

    def open_input(self, path: str) -> BinaryIO:
        """Open the file for reading; `FileNotFoundError` where there is none."""

    def size(self, path: str) -> int | None:
        """Return the file's bytes, or None where there is no such file."""

    def names(self, folder: str) -> Sequence[str]:
        """Return the names of the folder's entries, sorted; none where there is no such folder."""

    def list(self, folder: str) -> Iterator[str]:
        """Yield the path of every file below the folder, sorted."""

    def put(self, path: str, data: bytes | Path) -> None:
        """Put bytes or a finished local file in their place, whole or not at all, replacing what was there."""

    def put_all(self, files: Iterable[tuple[Path, str]]) -> None:
        """Put finished local files in their places, durably, replacing what was there."""

    def put_if_absent(self, path: str, data: bytes | Path) -> bool:
        """Put bytes or a finished local file in their place unless there is one; return whether they were put."""

    def delete(self, path: str) -> None:
        """Delete a file or a folder with all below it, if it is there."""

    def attempt(self, kind: str = "attempt") -> Path:
        """Make a new empty local folder, which is the caller's until it deletes it or its process ends."""

    def lease(self) -> AbstractContextManager[None]:
        """Hold the memory for writing, so that two builds do not do the same work."""

    def path(self, path: str) -> Path:
        """Return the local path of a file, for libraries that open files themselves."""

    def local(self, entry: FileEntry, *, again: bool = False) -> Path:
        """Return the local path of a file that a manifest or marker names, compared with its checksum."""
