"""Cutting a stream of lines into pieces, block by block."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.pipelines.sources.base import Piece
from mnemodex.pipelines.sources.streams import MAX_BYTES
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray


def cut_lines(blocks: Iterable[bytes], *, path: str, rows: int, size: int) -> Iterator[Piece]:
    """Cut lines into pieces, from the first byte on: what is appended changes only the last piece.

    A piece ends with the line that makes it `rows` lines or `size` bytes; no line is parsed.

    Args:
        blocks: the bytes, in blocks of any length.
        path: the file, as the pieces name it.
        rows: most lines of a piece.
        size: bytes that end a piece.

    Raises:
        SourceError: a line is longer than `MAX_BYTES`.
    """
    cutter = _Cutter(path, rows, size)
    for block in blocks:
        yield from cutter.feed(block)
    yield from cutter.finish()


class _Cutter:
    """The open piece: where it starts, its lines and the digest of its bytes so far."""

    def __init__(self, path: str, rows: int, size: int) -> None:
        self._path, self._rows, self._size = path, rows, size
        self._place = 0
        self._line_start = 0
        self._first_line = 1
        self._open(0)

    def _open(self, start: int) -> None:
        self._start, self._lines = start, 0
        self._digest = hashlib.sha256()

    def feed(self, block: bytes) -> Iterator[Piece]:
        view = memoryview(block)
        newlines = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
        used = passed = 0
        while (cut := self._next_cut(newlines, passed)) < len(newlines):
            end = int(newlines[cut]) + 1
            self._digest.update(view[used:end])
            self._lines += cut + 1 - passed
            yield self._piece(self._place + end)
            used, passed = end, cut + 1
        self._digest.update(view[used:])
        self._lines += len(newlines) - passed
        if len(newlines):
            self._line_start = self._place + int(newlines[-1]) + 1
        self._place += len(block)
        self._check_line()

    def _next_cut(self, newlines: NDArray[np.intp], passed: int) -> int:
        """Which newline of the block ends the piece: the one that fills its rows, or the first that fills its bytes."""
        by_size = int(np.searchsorted(newlines, self._start + self._size - 1 - self._place))
        return min(passed + self._rows - self._lines - 1, by_size)

    def _check_line(self) -> None:
        if self._place - self._line_start > MAX_BYTES:
            line = self._first_line + self._lines
            msg = f"{self._path}: line {line} is longer than {MAX_BYTES >> 20} MiB; is the file one JSON object a line?"
            raise SourceError(msg)

    def _piece(self, end: int) -> Piece:
        piece = Piece(self._path, self._start, end, self._first_line, self._digest.hexdigest())
        self._first_line += self._lines
        self._open(end)
        return piece

    def finish(self) -> Iterator[Piece]:
        if self._place > self._start:
            yield self._piece(self._place)
