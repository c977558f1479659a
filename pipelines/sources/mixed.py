"""Files of several formats: each is read as its name says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from mnemodex.pipelines.sources.arrow import ArrowSource
from mnemodex.pipelines.sources.fields import KEYS
from mnemodex.pipelines.sources.files import FileSource
from mnemodex.pipelines.sources.formats import FORMATS, format_of
from mnemodex.pipelines.sources.json_array import is_list

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mnemodex.pipelines.bad_row import BadRow
    from mnemodex.pipelines.sources.base import Piece, Record
    from mnemodex.pipelines.sources.packing import Packing
    from mnemodex.schemas.store.object_url import Root


class MixedSource(FileSource):
    """Files of all formats in the order of their paths; the fields are those of rows."""

    endings = tuple(ending for kind in FORMATS.values() for ending in kind.endings)
    keys = KEYS
    has_rows = False

    def __init__(self, root: Root, paths: Sequence[str], *, fields: Mapping[str, str], packing: Packing) -> None:
        super().__init__(root, paths, fields=fields, packing=packing)
        # Those of which there are files: others may need packages that are not there.
        self._sources = {
            name: FORMATS[name](root, (), fields=fields if FORMATS[name].keys else {}, packing=packing)
            for name in dict.fromkeys(map(format_of, paths))
            if name is not None
        }
        for source in self._sources.values():
            source.left_out = self.left_out

    @override
    @classmethod
    def choose(cls, folder: Root, paths: Sequence[str]) -> list[str]:
        tables = set(ArrowSource.choose(folder, paths))

        def is_read(path: str) -> bool:
            known = format_of(path)
            # Most JSON of a folder is settings.
            return path in tables if known == "arrow" else known != "json" or is_list(f"{folder}/{path}")

        return [path for path in paths if format_of(path) is not None and is_read(path)]

    def _format(self, path: str) -> FileSource:
        return self._sources[format_of(path) or ""]

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
