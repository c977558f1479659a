"""What a source is: files that are planned into splits and read as records."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


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

    def to_json(self) -> str:
        """One JSON string, so that a split can travel to an actor."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Split:
        """The inverse of `to_json`."""
        data = json.loads(text)
        return cls(data["label"], tuple(Piece(**piece) for piece in data["pieces"]))

    def fingerprint(self) -> str:
        """SHA-256 over the pieces' places and bytes."""
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


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not be read; it goes to the `errors` table."""

    source: str
    line: int
    reason: str
    content: str = ""


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

    def read(self, splits: Sequence[Split]) -> Iterator[tuple[Split, Iterator[Record | BadRow]]]:
        """Read splits of one file in one pass (a compressed file is decompressed once, not once a split)."""
