"""Files as bytes: listed, and read in blocks, lines or as a whole, decompressed as their names say."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pyarrow as pa

from mnemodex.pipelines.sources.base import COMPRESSIONS
from mnemodex.pipelines.sources.objects import object_state, open_object
from mnemodex.schemas.errors import ObjectStoreError, SourceError, reason
from mnemodex.schemas.store.object_url import STARTS

if TYPE_CHECKING:
    from collections.abc import Iterator

BOM = b"\xef\xbb\xbf"
MAX_BYTES = 256 << 20
"""Bytes of the longest line or document: bounds memory, and what a small compressed file can grow to."""
_MAX_JSON = 1 << 30
"""Bytes of the longest JSON document: it is parsed as a whole."""
BLOCK = 4 << 20
"""Bytes that are read at once."""
_MAGIC = {
    b"\x1f\x8b\x08": "gzip, but its name does not end in .gz; rename it",
    b"\x28\xb5\x2f\xfd": "zstd, but its name does not end in .zst; rename it",
    b"\xfd7zXZ\0": "xz; unpack it",
    b"BZh91AY&SY": "bzip2; unpack it",
    b"PK\x03\x04": "zip; unpack it",
}
"""How compressed files begin, which are no text."""
UNREADABLE = (OSError, EOFError, zlib.error)
"""What reading a file raises."""


def file_state(path: Path | str) -> tuple[int, int, int, int]:
    """Return what differs when a file was changed: size, times and inode; see `object_state` for an object."""
    if str(path).startswith(STARTS):
        return object_state(str(path))
    try:
        stat = os.stat(path)  # noqa: PTH116 - making a `Path` takes longer than this
    except OSError as error:
        raise unreadable(path, error) from error
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def read_blocks(path: Path | str, start: int = 0, *, packed: bool = False) -> Iterator[bytes]:
    """Yield a file's decompressed bytes from a byte on, some megabytes at a time.

    Args:
        path: of the file.
        start: the first byte.
        packed: whether the format itself is a compressed one.

    Raises:
        SourceError: says why it cannot be read.
    """
    try:
        with open_stream(path) as stream:
            if start:
                stream.seek(start)
            while block := stream.read(BLOCK):
                for magic, what in _MAGIC.items() if not (start or packed) and codec_of(path) is None else ():
                    if block.startswith(magic):
                        raise SourceError(f"{path}: is {what}")
                start += len(block)
                yield block
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file without their ends; one of more than 256 MiB is a `SourceError`."""
    rest = b""
    for number, block in enumerate(read_blocks(path)):
        *lines, rest = (rest + (block if number else block.removeprefix(BOM))).split(b"\n")
        if len(rest) > MAX_BYTES:
            limit = f"{MAX_BYTES >> 20} MiB"
            raise SourceError(f"{path}: a line is longer than {limit}; is the file one JSON object a line?")
        yield from lines
    yield rest


def read_json(path: Path | str, *, row: str) -> bytes:
    """Return the bytes of a JSON document; of more than 1 GiB a `SourceError` says what rows of JSONL to write."""
    data = bytearray()
    for block in read_blocks(path):
        data += block
        if len(data) > _MAX_JSON:
            raise SourceError(f"{path}: a JSON document of more than 1 GiB; write it as JSONL, one {row} a line")
    return bytes(data)


def open_stream(path: Path | str) -> Any:
    """Open a stream of the file's decompressed bytes; one of a plain file can seek."""
    codec = codec_of(path)
    # An interrupted copy leaves a file of no bytes, which Arrow would read as a compressed file without content.
    if codec and file_state(path)[0] == 0:
        raise OSError("the file has no bytes")
    place: Any = open_object(str(path)) if str(path).startswith(STARTS) else path
    if codec == "gzip":
        # Unlike Arrow's, it takes the zeros behind the end that tapes and block devices leave.
        return gzip.open(place)
    return pa.input_stream(place, compression=codec)


def open_plain(place: str) -> Any:
    """Open a file for a reader that seeks in it."""
    return open_object(place) if place.startswith(STARTS) else open(place, "rb")  # noqa: PTH123 - a string


def codec_of(path: Path | str) -> str | None:
    """Return Arrow's name of how a file is compressed, by its ending; None for a plain one."""
    return COMPRESSIONS.get(str(path)[str(path).rfind(".") :].lower())


def unreadable(path: Path | str, error: Exception) -> SourceError:
    """Return what says why a file cannot be read, and what to do."""
    if isinstance(error, ObjectStoreError):
        return SourceError(str(error))
    if isinstance(error, FileNotFoundError):
        what = absence(path)
        return SourceError(f"{path}: cannot be read ({what}); put the file back or correct the path, and build again")
    codec, number = codec_of(path), getattr(error, "errno", None)
    if codec is None or number is not None:
        # Arrow's own message names the file once more.
        what = os.strerror(number) if number is not None else str(error)
        return SourceError(f"{path}: cannot be read ({what}); check the path and its permissions")
    what = "Truncated" if isinstance(error, EOFError) else str(error)
    return SourceError(f"{path}: cannot be read as {codec} ({what}); download or compress the file again")


def absence(path: Path | str) -> str:
    """Return why there is neither a file nor a folder at a path."""
    try:
        Path(path).stat()
    except FileNotFoundError:
        return "a link to nothing" if Path(path).is_symlink() else "no such file or folder"
    except (OSError, ValueError) as error:
        return reason(error)
    return "neither a file nor a folder"


def list_files(folder: Path, *, hidden: bool = False) -> list[str]:
    """Return the paths of all files below a folder, with or without hidden ones, with forward slashes, sorted.

    Linked folders are followed, each once: one that is in the folder anyway, or around it, is not listed again.
    """

    def refuse(error: OSError) -> NoReturn:
        raise SourceError(f"{error.filename}: cannot be listed ({error.strerror}); check the path and its permissions")

    paths, seen, begins = [], set(), [folder]
    for begin in begins:
        for parent, folders, names in os.walk(begin, onerror=refuse):
            here = Path(parent)
            try:
                state = here.stat()
            except OSError as error:
                refuse(error)
            if (state.st_dev, state.st_ino) in seen:
                folders.clear()
                continue
            seen.add((state.st_dev, state.st_ino))
            folders[:] = sorted(name for name in folders if hidden or not name.startswith("."))
            # After all that is no link: what is in the folder itself keeps its name.
            begins += [here / name for name in folders if (here / name).is_symlink()]
            below = here.relative_to(folder).as_posix()
            prefix = "" if below == "." else f"{below}/"
            paths += [prefix + name for name in names if hidden or not name.startswith(".")]
    return sorted(paths)
