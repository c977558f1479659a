"""JSONL: one JSON object a line, in one file, in the files of a folder, or as the corpus of a BEIR folder."""

from __future__ import annotations

import hashlib
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from mnemodex.pipelines.sources.base import COMPRESSIONS, Piece, Record
from mnemodex.pipelines.sources.fields import KEYS
from mnemodex.pipelines.sources.files import FileSource
from mnemodex.pipelines.sources.reading import BOM, MAX_BYTES, read_blocks
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mnemodex.pipelines.bad_row import BadRow

_ENDINGS = ("", *COMPRESSIONS)
CORPORA = tuple(f"corpus.jsonl{ending}" for ending in _ENDINGS)
"""The file that makes a folder a BEIR folder (Thakur et al., 2021); its queries and judgements are no documents."""


class JsonlSource(FileSource):
    """JSON lines, cut where the bytes of a file reach multiples of a size: that can be found in the midst of it."""

    endings = tuple(f"{name}{ending}" for name in (".jsonl", ".ndjson") for ending in _ENDINGS)
    keys = KEYS

    @override
    @classmethod
    def choose(cls, folder: Path, paths: Sequence[str]) -> list[str]:
        corpora = [path for path in paths if path in CORPORA]
        if len(corpora) > 1:
            names = ", ".join(corpora)
            raise SourceError(f"{folder}: the folder has several corpora ({names}); name one of them in source.path")
        return corpora or super().choose(folder, paths)

    @override
    def in_ranges(self, path: str) -> bool:
        return True

    @override
    def cut(self, path: str, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        # A line begins behind a line end, which is perhaps the byte in front.
        blocks = read_blocks(self.place(path), max(0, start - 1))
        return cut_lines(blocks, path, rows=self.packing.rows, size=self.packing.bytes, start=start, stop=stop)

    @override
    def _parse(self, piece: Piece, data: bytes) -> Iterator[Record | BadRow]:
        if piece.start == 0:
            data = data.removeprefix(BOM)
        for line, row in enumerate(data.split(b"\n"), piece.first_line):
            if row and not row.isspace():
                yield self._fields.parse(row, source=piece.path, line=line)


def cut_lines(
    blocks: Iterable[bytes], path: str, *, rows: int, size: int, start: int = 0, stop: int | None = None
) -> Iterator[Piece]:
    """Cut the lines of a file, given in blocks of any length, into pieces; appending changes the last piece only.

    A piece ends with the line that makes it `rows` lines, or that reaches the next multiple of `size` bytes. No line is
    parsed, and one that is longer than `MAX_BYTES` is a `SourceError`.

    Args:
        blocks: the file's bytes, from the one in front of `start`.
        path: of the file.
        rows: lines of a piece.
        size: bytes of the grid.
        start: where the first line begins, or a byte before that; a multiple of `size`.
        stop: the lines from there on are of another range.
    """
    # Bytes before the open piece, the open line and the block; the piece's first line, and the first one in the block.
    position = start
    if start:
        position, blocks = _skip_line(blocks, start - 1)
        if stop is not None and position >= stop:
            return
    start = line_start = position
    digest = hashlib.sha256()
    first_line = line = 1
    for block in blocks:
        view = memoryview(block)
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
        used = 0
        while True:
            full = (start // size + 1) * size
            last = min(first_line + rows - line - 1, int(np.searchsorted(ends, full - position)))
            if last >= len(ends):
                break
            end = int(ends[last])
            digest.update(view[used:end])
            yield Piece(path, start, position + end, first_line, digest.hexdigest(), line + last + 1 - first_line)
            digest, used, start, first_line = hashlib.sha256(), end, position + end, line + last + 1
            if stop is not None and start >= stop:
                return
        digest.update(view[used:])
        line += len(ends)
        line_start = position + int(ends[-1]) if len(ends) else line_start
        position += len(block)
        if position - line_start > MAX_BYTES:
            limit = f"{MAX_BYTES >> 20} MiB"
            raise SourceError(f"{path}: line {line} is longer than {limit}; is the file one JSON object a line?")
    if position > start:
        lines = line - first_line + (position > line_start)
        yield Piece(path, start, position, first_line, digest.hexdigest(), lines)


def _skip_line(blocks: Iterable[bytes], position: int) -> tuple[int, Iterator[bytes]]:
    """Return where the next line begins, and the blocks from there on."""
    rest = iter(blocks)
    for block in rest:
        end = block.find(b"\n") + 1
        if end:
            return position + end, chain([block[end:]], rest)
        position += len(block)
    return position, rest
