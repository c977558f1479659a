"""What a source is: files that are planned into splits and read as records."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.bad_row import BadRow

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
"""Endings that mean a compressed file, and Arrow's name of the codec."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of one source file: whole lines, or the whole file.

    Attributes:
        path: the file's path below the source root, with forward slashes.
        start: first byte; of the decompressed stream where the file is compressed.
        end: the byte after the last one.
        first_line: the 1-based number of its first line (or list element).
        sha256: of these bytes, so that a split's fingerprint is known before it is read.
    """

    path: str
    start: int
    end: int
    first_line: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Split:
    """What one documents partition is read from: a piece of a large file, or several small files.

    Attributes:
        label: readable, stable and unique in the source; it begins the partition's file name.
        pieces: in reading order.
    """

    label: str
    pieces: tuple[Piece, ...]

    @property
    def bytes(self) -> int:
        """Bytes of all pieces."""
        return sum(piece.end - piece.start for piece in self.pieces)

    @property
    def compressed(self) -> str:
        """Its file, if that is read from the beginning for every split; else empty."""
        path = self.pieces[0].path if self.pieces else ""
        return path if PurePosixPath(path).suffix.lower() in COMPRESSIONS else ""

    def to_json(self) -> str:
        """Return one JSON string, so that a split can travel to a worker."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Split:
        """Return what `to_json` was made of."""
        data = json.loads(text)
        return cls(data["label"], tuple(Piece(**piece) for piece in data["pieces"]))

    def fingerprint(self) -> str:
        """Return the SHA-256 over the pieces' places and bytes."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Record:
    """One document as its source has it."""

    key: str
    title: str
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    line: int = 1


class Source(Protocol):
    """Files of one format below one root.

    `plan` is a pure function of the files' content: growing the source leaves the splits of what was there as they
    were, but for the last split of a file that grew.
    """

    def plan(self) -> list[Split]:
        """Read the files as a stream and cut them into splits of bounded rows and bytes.

        Raises:
            SourceError: a file is missing, or not one of the format at all.
        """

    def read(self, split: Split) -> Iterator[Record | BadRow]:
        """Read one split.

        Splits of one file, one after the other, are read in one pass: a compressed file is decompressed once.

        Raises:
            SourceError: a file cannot be read any more, or has changed since it was planned.
        """
