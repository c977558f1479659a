"""Bytes of source files: plain or compressed, as blocks for planning and as verified pieces for reading."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mnemodex.pipelines.sources.base import COMPRESSIONS
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mnemodex.pipelines.sources.base import Piece

MAX_BYTES = 256 << 20
"""Bytes of the longest line or document: a bound on memory, and on what a small compressed file can grow to."""

_BLOCK = 4 << 20

BOM = b"\xef\xbb\xbf"


def _unreadable(path: Path, error: OSError) -> SourceError:
    codec = COMPRESSIONS.get(path.suffix.lower())
    if codec is None:
        return SourceError(f"{path}: cannot be read ({error.strerror or error}); mend source.path or the file's rights")
    return SourceError(f"{path}: cannot be read as {codec} ({error}); fetch or compress the file again")


def _open(path: Path) -> Any:
    """A stream of the file's decompressed bytes; the plain ones can seek."""
    codec = COMPRESSIONS.get(path.suffix.lower())
    # Arrow takes a compressed file of no bytes for an empty one; it is what an interrupted copy leaves.
    if codec and path.stat().st_size == 0:
        msg = "the file has no bytes"
        raise OSError(msg)
    return pa.input_stream(path, compression=codec)


def blocks(path: Path) -> Iterator[bytes]:
    """The file's decompressed bytes, some megabytes at a time.

    Raises:
        SourceError: the file is missing, truncated or not of its compression.
    """
    try:
        with _open(path) as stream:
            while block := stream.read(_BLOCK):
                yield block
    except OSError as error:
        raise _unreadable(path, error) from error


class PieceReader:
    """Reads pieces of files below a root; in ascending order, a compressed file is decompressed once.

    Args:
        root: the folder that the pieces' paths start from.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = ""
        self._stream: Any = None
        self._place = 0

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream, self._path = None, ""

    def read(self, piece: Piece) -> bytes:
        """The piece's bytes.

        Raises:
            SourceError: the file cannot be read, or these bytes are not the planned ones.
        """
        path = self._root / piece.path
        try:
            self._go(path, piece)
            data: bytes = self._stream.read(piece.end - piece.start)
        except OSError as error:
            raise _unreadable(path, error) from error
        self._place = piece.start + len(data)
        if hashlib.sha256(data).hexdigest() != piece.sha256:
            msg = f"{path}: has changed since the build looked at it; start the build again"
            raise SourceError(msg)
        return data

    def _go(self, path: Path, piece: Piece) -> None:
        if piece.path != self._path or piece.start < self._place:
            self._close()
            self._stream, self._path, self._place = _open(path), piece.path, 0
        if self._stream.seekable():
            self._stream.seek(piece.start)
            return
        while self._place < piece.start:
            skipped = len(self._stream.read(min(piece.start - self._place, _BLOCK)))
            if not skipped:
                # The file has become shorter: the read that follows gives nothing, and its checksum differs.
                return
            self._place += skipped
