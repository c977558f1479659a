"""Plain text and Markdown: every file is one document; front matter of Markdown is its metadata."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from typing_extensions import override

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.sources.base import COMPRESSIONS, Piece, Record
from mnemodex.pipelines.sources.cutting import compressed
from mnemodex.pipelines.sources.fields import not_utf8
from mnemodex.pipelines.sources.files import FileSource
from mnemodex.pipelines.sources.front_matter import split_front_matter
from mnemodex.pipelines.sources.reading import BOM

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARKDOWN = compressed(".md", ".markdown")

_FENCE_OR_HEADING = re.compile(
    r"^ {0,3}(?P<fence>`{3,}(?=[^`\n]*$)|~{3,})[\s\S]*?(?:^ {0,3}(?P=fence)|\Z)|^ {0,3}#[ \t]+(?P<title>\S.*)$",
    re.MULTILINE,
)
"""A fenced code block, so that a comment in it is not taken for a heading, or a heading of the first level."""


class TextSource(FileSource):
    """Text files, each one document."""

    endings = (*compressed(".txt", ".rst"), *_MARKDOWN)

    @override
    def cut(self, path: str, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        yield self._whole_file(path)

    @override
    def _parse(self, piece: Piece, data: bytes) -> Iterator[Record | BadRow]:
        try:
            text = data.removeprefix(BOM).decode("utf-8")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            yield BadRow.of(piece.path, line, not_utf8(error), data)
            return
        try:
            record = self._record(piece.path, text)
        except ValueError as error:
            yield BadRow.of(piece.path, 1, str(error), data)
        else:
            yield record

    def _record(self, path: str, text: str) -> Record:
        """Return the document of a file; a `ValueError` says why there is none."""
        if not path.lower().endswith(_MARKDOWN):
            return Record(path, stem(path), text, source=path)
        metadata, text = split_front_matter(text)
        title = metadata.pop("title", None)
        return Record(path, str(title) if title else _heading(text) or stem(path), text, metadata, path)


def stem(path: str) -> str:
    """Return the name of a file without its ending."""
    name = path.rpartition("/")[2]
    if name.lower().endswith(tuple(COMPRESSIONS)):
        name = name.rpartition(".")[0]
    return name.rpartition(".")[0] or name


def _heading(text: str) -> str:
    """Return the first heading of the first level; empty where there is none."""
    heading = next((match["title"].rstrip() for match in _FENCE_OR_HEADING.finditer(text) if match["title"]), "")
    # `Title ##` is `Title`, but `C#` stays.
    opened = heading.rstrip("#")
    return opened.rstrip() if opened[-1:] in (" ", "\t") else heading
