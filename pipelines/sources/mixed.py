"""JSON lines and texts in one folder: each file is read as its name says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from mnemodex.pipelines.sources.files import FileSource
from mnemodex.pipelines.sources.jsonl import JsonlSource
from mnemodex.pipelines.sources.text import TextSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mnemodex.pipelines.bad_row import BadRow
    from mnemodex.pipelines.sources.base import Piece, Record
    from mnemodex.pipelines.sources.packing import Packing


class MixedSource(FileSource):
    """Files of both formats in the order of their paths; the fields are those of JSON rows."""

    endings = (*JsonlSource.endings, *TextSource.endings)
    keys = JsonlSource.keys
    has_rows = False

    def __init__(self, root: Path, paths: Sequence[str], *, fields: Mapping[str, str], packing: Packing) -> None:
        super().__init__(root, paths, fields=fields, packing=packing)
        self._rows = JsonlSource(root, (), fields=fields, packing=packing)
        self._texts = TextSource(root, (), fields={}, packing=packing)

    def _format(self, path: str) -> FileSource:
        return self._rows if path.lower().endswith(JsonlSource.endings) else self._texts

    @override
    def in_ranges(self, path: str) -> bool:
        return self._format(path).in_ranges(path)

    @override
    def cut(self, path: str, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        return self._format(path).cut(path, start, stop)

    @override
    def _read_piece(self, piece: Piece) -> bytes:
        return self._format(piece.path)._read_piece(piece)

    @override
    def _parse(self, piece: Piece, data: bytes) -> Iterator[Record | BadRow]:
        return self._format(piece.path)._parse(piece, data)
