"""Plain text and Markdown: every file is one document."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from typing_extensions import override

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.sources.base import Piece, Record, Split
from mnemodex.pipelines.sources.fields import not_utf8
from mnemodex.pipelines.sources.files import BOM, FileSource, hashed_slug

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MARKDOWN = (".md", ".markdown")

_FENCE_OR_HEADING = re.compile(
    r"^ {0,3}(?P<fence>`{3,}(?=[^`\n]*$)|~{3,})[\s\S]*?(?:^ {0,3}(?P=fence)|\Z)|^ {0,3}#[ \t]+(?P<title>\S.*)$",
    re.MULTILINE,
)
"""A fenced code block, so that a comment in it is not taken for a heading, or a heading of the first level."""


class TextSource(FileSource):
    """Text files; small ones share a split."""

    endings = (".txt", ".rst", *_MARKDOWN)

    @override
    def plan(self) -> list[Split]:
        groups = group_files(map(self._whole_file, self.paths), rows=self.rows, size=self.size)
        return [Split(hashed_slug(pieces[0].path), pieces) for pieces in groups]

    @override
    def _parse(self, piece: Piece, data: bytes) -> Iterator[Record | BadRow]:
        try:
            text = data.removeprefix(BOM).decode("utf-8")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            yield BadRow.of(piece.path, line, not_utf8(error), data)
        else:
            yield Record(key=piece.path, title=_title(piece.path, text), text=text, source=piece.path)


def group_files(pieces: Iterable[Piece], *, rows: int, size: int) -> Iterator[tuple[Piece, ...]]:
    """Group small files by their paths, so that a file added or removed changes only the groups around it.

    Content-defined chunking with a least and a greatest length (Muthitacharoen, Chen and Mazieres, LBFS, 2001), over
    files instead of bytes. A file ends a group with a probability of four times its share of a full group, so nearly
    all groups end by their paths and not by their length, which would carry a change on to the next group.

    The pieces are whole files, sorted by path; a group has at most `rows` of them, and ends with `size` bytes.
    """
    members: list[Piece] = []
    filled = 0.0
    for piece in pieces:
        members.append(piece)
        share = max(1 / rows, piece.end / size)
        filled += share
        if len(members) >= rows or filled >= 1 or (filled >= 1 / 16 and _path_fraction(piece.path) < 4 * share):
            yield tuple(members)
            members, filled = [], 0.0
    if members:
        yield tuple(members)


def _path_fraction(path: str) -> float:
    """Return a number in [0, 1) that depends on the path only, evenly distributed."""
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8]) / 2**64


def _title(path: str, text: str) -> str:
    headings = _FENCE_OR_HEADING.finditer(text) if path.lower().endswith(_MARKDOWN) else ()
    heading = next((match["title"].rstrip() for match in headings if match["title"]), None)
    if heading is None:
        return PurePosixPath(path).stem
    # `Title ##` is `Title`, but `C#` stays.
    opened = heading.rstrip("#")
    return opened.rstrip() if opened[-1:] in (" ", "\t") else heading
