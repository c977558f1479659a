"""Plain text and Markdown: every file is one document."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mnemodex.pipelines.sources.base import Piece, Record, Split
from mnemodex.pipelines.sources.fields import bad_row, not_utf8
from mnemodex.pipelines.sources.files import FileSource
from mnemodex.pipelines.sources.labels import hashed_slug
from mnemodex.pipelines.sources.streams import BOM, MAX_BYTES, blocks
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mnemodex.pipelines.bad_row import BadRow

_MARKDOWN = (".md", ".markdown")

_FENCE_OR_HEADING = re.compile(
    r"^ {0,3}(?P<fence>`{3,}(?=[^`\n]*$)|~{3,})[\s\S]*?(?:^ {0,3}(?P=fence)|\Z)|^ {0,3}#[ \t]+(?P<title>\S.*)$",
    re.MULTILINE,
)
"""A fenced code block, so that a comment in it is not taken for a heading, or a heading of the first level."""


class TextSource(FileSource):
    """Text files; small ones share a split."""

    endings = (".txt", ".rst", *_MARKDOWN)

    def _set_fields(self, fields: Mapping[str, str]) -> None:
        if fields:
            msg = "source.fields: text files have no fields (the key is the path); leave source.fields out"
            raise SourceError(msg)

    def plan(self) -> list[Split]:
        """Hash the files and group them.

        Raises:
            SourceError: a file cannot be read, or is longer than 256 MiB.
        """
        return [
            Split(hashed_slug(pieces[0].path), pieces)
            for pieces in group((self._piece(path) for path in self.paths), rows=self.rows, size=self.size)
        ]

    def _piece(self, path: str) -> Piece:
        digest, size = hashlib.sha256(), 0
        for block in blocks(self.root / path):
            digest.update(block)
            size += len(block)
            if size > MAX_BYTES:
                msg = f"{self.root / path}: a document of more than {MAX_BYTES >> 20} MiB; cut the file into several"
                raise SourceError(msg)
        return Piece(path, 0, size, 1, digest.hexdigest())

    def _parse(self, piece: Piece, data: bytes) -> Iterator[Record | BadRow]:
        try:
            text = data.removeprefix(BOM).decode("utf-8")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            yield bad_row(data, not_utf8(error), source=piece.path, line=line)
            return
        yield Record(key=piece.path, title=_title(piece.path, text), text=text, source=piece.path)


def group(pieces: Iterator[Piece], *, rows: int, size: int) -> Iterator[tuple[Piece, ...]]:
    """Group small files where their paths say so: a file added or removed changes only the groups around it.

    Content-defined chunking with a least and a greatest length (Muthitacharoen, Chen and Mazieres, LBFS, 2001), over
    files instead of bytes. A file ends a group with a chance of four times its share of a full group, so nearly all
    groups end by their paths and not by their length, which would carry a change on to the next group.

    Args:
        pieces: whole files, sorted by path.
        rows: most files of a group.
        size: bytes that end a group.
    """
    members: list[Piece] = []
    filled = 0.0
    for piece in pieces:
        members.append(piece)
        share = max(1 / rows, piece.end / size)
        filled += share
        if len(members) >= rows or filled >= 1 or (filled >= 1 / 16 and _chance(piece.path) < 4 * share):
            yield tuple(members)
            members, filled = [], 0.0
    if members:
        yield tuple(members)


def _chance(path: str) -> float:
    """A number in [0, 1) that only the path decides."""
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8]) / 2**64


def _title(path: str, text: str) -> str:
    if path.lower().endswith(_MARKDOWN):
        for match in _FENCE_OR_HEADING.finditer(text):
            if match["title"]:
                return _without_closing(match["title"].rstrip())
    return PurePosixPath(path).stem


def _without_closing(heading: str) -> str:
    """`Title ##` is `Title`, but `C#` stays."""
    bare = heading.rstrip("#")
    return bare.rstrip() if bare[-1:] in (" ", "\t") else heading
