"""Ways in which a disk, a copy or a hand damages a file."""

from __future__ import annotations

import contextlib
import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import MnemodexError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_random = random.Random(20240607)


def _flip(data: bytes, place: int) -> bytes:
    changed = data[place] ^ _random.randrange(1, 256)
    return data[:place] + bytes([changed]) + data[place + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "first byte": lambda data: _flip(data, 0),
    "last byte": lambda data: _flip(data, len(data) - 1),
    "some byte": lambda data: _flip(data, _random.randrange(len(data))),
    "another byte": lambda data: _flip(data, _random.randrange(len(data))),
    "one bit": lambda data: _flip_bit(data, _random.randrange(len(data) * 8)),
    "half": lambda data: data[: len(data) // 2],
    "all but a byte": lambda data: data[:-1],
    "empty": lambda data: b"",
    "a byte more": lambda data: data + bytes([_random.randrange(256)]),
    "a newline more": lambda data: data + b"\n",
    "missing": lambda data: None,
}
"""By name: a file's content to what is left of it, None where it is gone."""


def _flip_bit(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def problems(root: Path) -> list[str]:
    """What `verify` finds in a memory, or why it cannot be opened."""
    try:
        return verify(root).problems
    except MnemodexError as error:
        return [str(error)]


def is_right(answer: object, sound: object, damaged: list[str]) -> bool:
    """Whether an answer is the one of the sound memory, or an error that names a damaged file."""
    if isinstance(answer, MnemodexError):
        return any(path in str(answer) for path in damaged)
    return answer == sound


@dataclass(frozen=True)
class Folder:
    """A folder whose files are damaged one at a time."""

    root: Path

    def files(self) -> list[str]:
        """All of them, with forward slashes, but for the lease, which says nothing."""
        files = [path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file()]
        return sorted(file for file in files if file != "LEASE")

    @contextlib.contextmanager
    def damaged(self, *files: str, damage: str | Callable[[bytes], bytes | None]) -> Iterator[list[str]]:
        """Damage files in place, with their former times, and make them whole again; gives their absolute paths.

        A damage is the name of one of `DAMAGES`, or what makes other bytes of a file's.
        """
        damaging = DAMAGES[damage] if isinstance(damage, str) else damage
        paths = [self.root / file for file in files]
        contents = {path: path.read_bytes() for path in paths}
        try:
            for path in paths:
                _damage(path, damaging(contents[path]))
                assert not path.exists() or path.read_bytes() != contents[path]
            yield [str(path) for path in paths]
        finally:
            for path, data in contents.items():
                _overwrite(path, data)


def _damage(path: Path, data: bytes | None) -> None:
    stat = path.stat()
    if data is None:
        path.unlink()
    else:
        _overwrite(path, data)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _overwrite(path: Path, data: bytes) -> None:
    """In place, so that the inode stays."""
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(data)
        file.truncate()
