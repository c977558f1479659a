"""What a source is: files that are planned into splits and read as records."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from operator import attrgetter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.bad_row import BadRow

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
"""Endings of compressed files, and Arrow's names of the codecs."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of one source file: whole lines, or the whole file.

    `path` is below the source root, with forward slashes. `start` and `end` are bytes of the decompressed stream,
    `first_line` is the 1-based number of the first line or list element. `sha256` is of the bytes, so that a split's
    fingerprint is known before it is read. `rows` are its lines or list elements.
    """

    path: str
    start: int
    end: int
    first_line: int
    sha256: str
    rows: int = 1


_PIECE = tuple(each.name for each in fields(Piece))

values_of = attrgetter(*_PIECE)
"""The fields of a piece; a source may have millions, and `astuple` copies each value deeply."""


@dataclass(frozen=True, slots=True)
class Split:
    """What one partition of documents is read from: pieces of files, in the order of the source.

    The label is readable, stable and unique in the source; the partition's file name begins with it.
    """

    label: str
    pieces: tuple[Piece, ...]

    @property
    def bytes(self) -> int:
        """Bytes of all pieces."""
        return sum(piece.end - piece.start for piece in self.pieces)

    @property
    def compressed(self) -> str:
        """Its first file where that is compressed, which every split reads from the beginning; else empty."""
        path = self.pieces[0].path if self.pieces else ""
        return path if PurePosixPath(path).suffix.lower() in COMPRESSIONS else ""

    def fingerprint(self) -> str:
        """Return the SHA-256 of the label and the pieces, as JSON."""
        pieces = [dict(zip(_PIECE, values_of(piece), strict=True)) for piece in self.pieces]
        return hashlib.sha256(json.dumps({"label": self.label, "pieces": pieces}).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Record:
    """One document of a source."""

    key: str
    title: str
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    line: int = 1


class Source(Protocol):
    """Files of one format below one root."""

    def plan(self) -> list[Split]:
        """Read the files as a stream and cut them into splits of bounded rows and bytes.

        A pure function of the files' names and content: when the source grows at its end, all splits but the last stay
        the same. A file that is missing, or not of the format at all, is a `SourceError`.
        """

    def read(self, split: Split) -> Iterator[Record | BadRow]:
        """Read one split, in order with one decompression; a file that changed since the plan is a `SourceError`."""
