"""Sources in object stores: files that are found by a prefix or a pattern, and read by ranges of bytes."""

from __future__ import annotations

import fnmatch
import glob
import io
import os
import re
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, BinaryIO

from typing_extensions import override

from mnemodex.schemas.errors import MemoryNotFoundError, SourceError
from mnemodex.schemas.store.object_client import ObjectClient
from mnemodex.schemas.store.object_url import ObjectUrl, parse_root

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.schemas.store.object_url import Root

_READ = 4 << 20
"""Bytes of a request."""


def find_objects(path: str) -> tuple[ObjectUrl, list[str], bool]:
    """Return the objects that a URL names: an object, all below a folder, or those that a pattern matches.

    Returns:
        The URL of the folder that paths start from, the paths, and whether they are what is in the folder.

    Raises:
        SourceError: there is none.
    """
    url = _parse(path)
    parts = url.key.split("/")
    wild = next((number for number, part in enumerate(parts) if glob.has_magic(part)), None)
    if wild is not None:
        root = ObjectUrl(url.scheme, url.bucket, "/".join(parts[:wild]))
        found = [name for name in _names(root) if _matches(name.split("/"), parts[wild:])]
        if not found:
            raise SourceError(f"{path}: no object matches the pattern; correct source.path")
        return root, found, False
    folder, _, name = url.key.rpartition("/")
    parent = ObjectUrl(url.scheme, url.bucket, folder)
    if name and not path.endswith("/") and _client(parent).head(name) is not None:
        return parent, [name], False
    found = list(_names(url))
    if not found:
        raise SourceError(f"{path}: there is no such object, and none below it; correct source.path")
    return url, found, True


def object_state(path: str) -> tuple[int, int, int, int]:
    """Return what differs when an object was replaced: size, etag and time, whose steps may be whole seconds."""
    client, name = _locate(path)
    head = client.head(name)
    if head is None:
        raise SourceError(f"{path}: there is no such object; put it back or correct the path, and build again")
    etag = int(sha256((head["e_tag"] or "").encode()).hexdigest()[:15], 16)
    return head["size"], etag, int(head["last_modified"].timestamp() * 1e9), 0


def open_object(path: str) -> BinaryIO:
    """Open an object for reading from any byte on; each request reads some megabytes."""
    client, name = _locate(path)
    return io.BufferedReader(_Reader(client, name), _READ)


class _Reader(io.RawIOBase):
    """An object as a file."""

    def __init__(self, client: ObjectClient, name: str) -> None:
        super().__init__()
        self._client, self._name, self._position = client, name, 0
        head = client.head(name)
        if head is None:
            raise FileNotFoundError(f"{client.url / name}: there is no such object")
        self._size: int = head["size"]

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, begin + offset)
        return self._position

    @override
    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self._size - self._position))
        if count:
            data = self._client.range(self._name, self._position, self._position + count)
            buffer[: len(data)] = data
            self._position += len(data)
            return len(data)
        return 0


def _parse(path: str) -> ObjectUrl:
    try:
        url: Root = parse_root(path)
    except MemoryNotFoundError as error:
        raise SourceError(str(error)) from error
    assert isinstance(url, ObjectUrl)  # noqa: S101 - callers have looked
    return url


@lru_cache(maxsize=16)
def _client(url: ObjectUrl) -> ObjectClient:
    return ObjectClient(url)


def _locate(path: str) -> tuple[ObjectClient, str]:
    """Return the client of an object's bucket, and the path in it."""
    url = _parse(path)
    return _client(ObjectUrl(url.scheme, url.bucket)), url.key


def _names(root: ObjectUrl) -> Iterator[str]:
    """Yield the paths of objects below a folder, sorted, without hidden ones and markers of folders."""
    for name in sorted(found["path"] for found in _client(root).below("")):
        if not re.search(r"(^|/)\.|/$", name):
            yield name


def _matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Return whether the names of a path match those of a pattern, in which `**` is any number of folders."""
    if not parts:
        return not names
    if parts[0] == "**":
        return any(_matches(names[count:], parts[1:]) for count in range(len(names) + 1)) or (
            len(parts) == 1 and bool(names)
        )
    return bool(names) and fnmatch.fnmatchcase(names[0], parts[0]) and _matches(names[1:], parts[1:])
