"""HippoRAG corpora: one JSON file that holds a list of passages with title, text and perhaps idx."""

from __future__ import annotations

import hashlib
import json
import re
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from mnemodex.pipelines.sources.base import Piece, Record
from mnemodex.pipelines.sources.files import FileSource
from mnemodex.pipelines.sources.reading import read_json
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mnemodex.pipelines.bad_row import BadRow

_BYTES = "latin-1"
"""Text of this encoding has one character a byte, so that positions in it are those of the bytes."""
_OPEN = re.compile(r"(?:\xef\xbb\xbf)*[ \t\n\r]*(\[?)[ \t\n\r]*")
_SEPARATOR = re.compile(r"[ \t\n\r]*(,?)[ \t\n\r]*")

# Only the ends of elements are needed; their content is checked when they are read one by one.
_scan = json.JSONDecoder(strict=False, parse_int=str, parse_float=str).raw_decode


class HipporagSource(FileSource):
    """A list of passages (Gutierrez et al., 2024); the key is `idx`, or the number in the list from 0."""

    endings = (".json",)
    keys = ("idx",)

    @override
    @classmethod
    def choose(cls, folder: Path, paths: Sequence[str]) -> list[str]:
        # Passages of several lists would have the same numbers as keys, so a corpus is named as a file.
        return []

    @override
    def cut(self, path: str, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        data = read_json(self.place(path), row="object")
        try:
            bounds = np.fromiter(chain.from_iterable(find_elements(data.decode(_BYTES))), np.int64)
        except (ValueError, RecursionError) as error:
            raise SourceError(
                f"{self.place(path)}: is not a JSON list of {{title, text}} ({error}); set source.format: jsonl for "
                "JSON lines, and name an OpenIE output under triples"
            ) from error
        starts, ends = bounds.reshape(-1, 2).T.copy()
        first = 0
        while first < len(ends):
            start = int(starts[first])
            full = int(np.searchsorted(ends, start + self.packing.bytes))
            last = min(first + self.packing.rows - 1, full, len(ends) - 1)
            end = int(ends[last])
            digest = hashlib.sha256(data[start:end]).hexdigest()
            yield Piece(path, start, end, first + 1, digest, last - first + 1)
            first = last + 1

    @override
    def _parse(self, piece: Piece, data: bytes) -> Iterator[Record | BadRow]:
        for line, (start, end) in enumerate(find_elements(f"[{data.decode(_BYTES)}]"), piece.first_line):
            row = data[start - 1 : end - 1]
            yield self._fields.parse(row, source=piece.path, line=line, default_key=str(line - 1))


def find_elements(text: str) -> Iterator[tuple[int, int]]:
    """Yield where the elements of a JSON list begin and end; a `ValueError` says why the text is none."""
    mark, position = _match(_OPEN, text, 0)
    if not mark and position == len(text):
        return
    if not mark:
        raise ValueError(f"it begins with {_quote(text, position)}")
    more = not text.startswith("]", position)
    while more:
        _, end = _scan(text, position)
        yield position, end
        more, position = _match(_SEPARATOR, text, end)
    if text[position:].strip(" \t\n\r") != "]":
        raise ValueError(f"an element is followed by {_quote(text, position)} at byte {position + 1}")


def _match(pattern: re.Pattern[str], text: str, position: int) -> tuple[bool, int]:
    """Return whether the pattern's mark is there, and where the match ends; it matches everywhere."""
    match = pattern.match(text, position)
    return (match is not None and match[1] != "", match.end() if match is not None else position)


def _quote(text: str, position: int) -> str:
    return repr(text[position : position + 20].encode(_BYTES).decode("utf-8", "replace"))
