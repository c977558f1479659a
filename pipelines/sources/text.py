"""Plain text and Markdown: every file is one document."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from typing_extensions import override

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.sources.base import COMPRESSIONS, Piece, Record
from mnemodex.pipelines.sources.cutting import compressed
from mnemodex.pipelines.sources.fields import not_utf8
from mnemodex.pipelines.sources.files import FileSource
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
        else:
            yield Record(key=piece.path, title=_title(piece.path, text), text=text, source=piece.path)


def _title(path: str, text: str) -> str:
    headings = _FENCE_OR_HEADING.finditer(text) if path.lower().endswith(_MARKDOWN) else ()
    heading = next((match["title"].rstrip() for match in headings if match["title"]), None)
    if heading is None:
        name = path.rpartition("/")[2]
        if name.lower().endswith(tuple(COMPRESSIONS)):
            name = name.rpartition(".")[0]
        return name.rpartition(".")[0] or name
    # `Title ##` is `Title`, but `C#` stays.
    opened = heading.rstrip("#")
    return opened.rstrip() if opened[-1:] in (" ", "\t") else heading
