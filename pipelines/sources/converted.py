"""Files that a library turns into text: web pages, PDF and Word, each one document."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from typing_extensions import override

from mnemodex.indexers.models.locate import need
from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.sources.base import Piece, Record
from mnemodex.pipelines.sources.files import FileSource
from mnemodex.pipelines.sources.reading import MAX_BYTES, read_blocks
from mnemodex.pipelines.sources.text import stem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mnemodex.pipelines.sources.packing import Packing
    from mnemodex.schemas.store.object_url import Root


class Converted(NamedTuple):
    """The text of a file, its title, empty where it has none, and what else the file says of itself."""

    text: str
    title: str
    metadata: dict[str, Any]


class ConvertedSource(FileSource):
    """Files that are converted; one that cannot be is a row of `errors`."""

    module: ClassVar[str]
    """The library, of the extra `documents`."""
    most: ClassVar[int] = MAX_BYTES
    """Bytes of the largest file that is converted."""
    remedy: ClassVar[str]
    """What to do about a file that cannot be converted."""

    def __init__(self, root: Root, paths: Sequence[str], *, fields: Mapping[str, str], packing: Packing) -> None:
        super().__init__(root, paths, fields=fields, packing=packing)
        need(self.module, extra="documents")

    @override
    def cut(self, path: str, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        digest, size = hashlib.sha256(), 0
        for block in read_blocks(self.place(path), packed=True):
            digest.update(block)
            size += len(block)
        yield Piece(path, 0, size, 1, digest.hexdigest())

    @override
    def _read_piece(self, piece: Piece) -> bytes:
        return super()._read_piece(piece) if piece.end <= self.most else b""

    @override
    def _parse(self, piece: Piece, data: bytes) -> Iterator[Record | BadRow]:
        if piece.end > self.most:
            sizes = f"has {piece.end >> 20} MiB, more than {self.most >> 20}"
            yield BadRow.of(piece.path, 1, f"{sizes}; {self.remedy}", b"")
            return
        try:
            text, title, metadata = self._convert(data)
            if not text.strip():
                raise ValueError("has no text")
            # Escapes of files are characters that are none.
            title, text = (each.encode("utf-8", "replace").decode() for each in (title.strip(), text))
        except Exception as error:
            said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            yield BadRow.of(piece.path, 1, f"{said.partition(chr(10))[0][:300]}; {self.remedy}", b"")
        else:
            yield Record(piece.path, title or stem(piece.path), text, metadata, piece.path)

    @abstractmethod
    def _convert(self, data: bytes) -> Converted:
        """Return what is in a file; any exception says why there is nothing."""


def filled(**metadata: Any) -> dict[str, Any]:
    """Return the metadata that is there."""
    return {name: value for name, value in metadata.items() if value not in {None, "", ()}}
