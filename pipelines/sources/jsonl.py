"""JSONL: one JSON object a line, in one file, in the files of a folder, or as the corpus of a BEIR folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from mnemodex.pipelines.sources.cutting import Origin, compressed, cut_records, mark_lines, skip_line
from mnemodex.pipelines.sources.fields import KEYS
from mnemodex.pipelines.sources.files import FileSource
from mnemodex.pipelines.sources.reading import BOM, read_blocks
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mnemodex.pipelines.bad_row import BadRow
    from mnemodex.pipelines.sources.base import Piece, Record
    from mnemodex.schemas.store.object_url import Root

CORPORA = compressed("corpus.jsonl")
"""The file that makes a folder a BEIR folder (Thakur et al., 2021); its queries and judgements are no documents."""


class JsonlSource(FileSource):
    """JSON lines, cut where the bytes of a file reach multiples of a size: that can be found in the midst of it."""

    endings = compressed(".jsonl", ".ndjson")
    keys = KEYS

    @override
    @classmethod
    def choose(cls, folder: Root, paths: Sequence[str]) -> list[str]:
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
    """Cut the lines of a file, or a range of it, into pieces.

    Args:
        blocks: the file's bytes, from the one in front of `start`.
        path: of the file.
        rows: lines of a piece.
        size: bytes of the grid.
        start: where the first line begins, or a byte before that; a multiple of `size`.
        stop: the lines from there on are of another range.
    """
    if start:
        start, blocks = skip_line(blocks, start - 1)
        if stop is not None and start >= stop:
            return iter(())
    hint = "is the file one JSON object a line?"
    return cut_records(mark_lines(blocks), path, rows=rows, size=size, origin=Origin(start), stop=stop, hint=hint)
