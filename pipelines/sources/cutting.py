"""Files of records are cut into pieces: where records end is found block by block, and none is parsed."""

from __future__ import annotations

import hashlib
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.pipelines.sources.base import COMPRESSIONS, Piece
from mnemodex.pipelines.sources.reading import MAX_BYTES
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mnemodex.indexers.arrays import Int64s


def compressed(*endings: str) -> tuple[str, ...]:
    """Return endings of files, plain and compressed."""
    return tuple(f"{name}{ending}" for name in endings for ending in ("", *COMPRESSIONS))


class Marked(NamedTuple):
    """A block of a file, and where records end in it.

    Attributes:
        block: some bytes of the file.
        ends: where records end in them, int64 of shape (records,), ascending.
        lines: lines of the block up to each end, of the same shape.
        total: lines that end in the block.
    """

    block: bytes
    ends: Int64s
    lines: Int64s
    total: int


class Origin(NamedTuple):
    """The byte and the line where the first record begins, and what every piece is read with, which they all hash."""

    start: int = 0
    line: int = 1
    before: bytes = b""


def mark_lines(blocks: Iterable[bytes]) -> Iterator[Marked]:
    """Mark the end of every line."""
    for block in blocks:
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
        yield Marked(block, ends, np.arange(1, len(ends) + 1), len(ends))


def cut_records(
    marked: Iterable[Marked],
    path: str,
    *,
    rows: int,
    size: int,
    origin: Origin,
    stop: int | None = None,
    hint: str = "",
) -> Iterator[Piece]:
    """Cut the records of a file, given in blocks of any length, into pieces; appending changes the last piece only.

    A piece ends with the record that makes it `rows` records, or that reaches the next multiple of `size` bytes. A
    record that is longer than `MAX_BYTES` is a `SourceError`.

    Args:
        marked: the file's bytes from the first record on.
        path: of the file.
        rows: records of a piece.
        size: bytes of the grid.
        origin: of the first record.
        stop: the records from there on are of another range.
        hint: what may be wrong where a record is too long.
    """
    # Bytes before the block; where the open piece and the open record begin, and their lines; records of the open
    # piece in earlier blocks.
    start, first_line, before = origin
    position, line, record, record_line = start, first_line, start, first_line
    digest = hashlib.sha256(before)
    held = 0
    for block, ends, lines, total in marked:
        view = memoryview(block)
        used = taken = 0
        while True:
            full = (start // size + 1) * size
            last = min(taken + rows - held - 1, int(np.searchsorted(ends, full - position)))
            if last >= len(ends):
                break
            end = int(ends[last])
            digest.update(view[used:end])
            yield Piece(path, start, position + end, first_line, digest.hexdigest(), held + last + 1 - taken)
            digest, used, start = hashlib.sha256(before), end, position + end
            first_line, taken, held = line + int(lines[last]), last + 1, 0
            if stop is not None and start >= stop:
                return
        digest.update(view[used:])
        held += len(ends) - taken
        if len(ends):
            record, record_line = position + int(ends[-1]), line + int(lines[-1])
        line += total
        position += len(block)
        if position - record > MAX_BYTES:
            raise SourceError(f"{path}: line {record_line} is longer than {MAX_BYTES >> 20} MiB; {hint}")
    if position > start:
        yield Piece(path, start, position, first_line, digest.hexdigest(), held + (position > record))


def skip_line(blocks: Iterable[bytes], position: int) -> tuple[int, Iterator[bytes]]:
    """Return where the next line begins, and the blocks from there on."""
    rest = iter(blocks)
    for block in rest:
        end = block.find(b"\n") + 1
        if end:
            return position + end, chain([block[end:]], rest)
        position += len(block)
    return position, rest


def drop(blocks: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Yield blocks without their first bytes."""
    for block in blocks:
        if count < len(block):
            yield block[count:]
        count = max(0, count - len(block))
