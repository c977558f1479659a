"""HippoRAG corpora: one JSON file that holds a list of passages with title, text and perhaps idx."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from mnemodex.pipelines.sources.base import Piece, Split
from mnemodex.pipelines.sources.fields import Fields, parse_row
from mnemodex.pipelines.sources.files import FileSource
from mnemodex.pipelines.sources.labels import slug
from mnemodex.pipelines.sources.streams import blocks
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mnemodex.pipelines.bad_row import BadRow
    from mnemodex.pipelines.sources.base import Record

_MAX_LIST = 1 << 30
"""Bytes of the longest list: it is parsed as a whole."""

_SPACE = re.compile(r"[ \t\n\r]*")

# Only the ends of the elements are of interest here; what is in them is judged when they are read, element by element.
_scan = json.JSONDecoder(strict=False, parse_int=str, parse_float=str).raw_decode


class HipporagSource(FileSource):
    """A list of passages (Gutierrez et al., 2024); the key is `idx`, or the place in the list from 0."""

    endings = (".json",)

    @classmethod
    def choose(cls, folder: Path, paths: Sequence[str]) -> list[str]:
        """None: places in several lists would be the same keys, so a corpus is named as a file."""
        return []

    def _set_fields(self, fields: Mapping[str, str]) -> None:
        self._fields = Fields.of(fields, keys=("idx",))
        self._by_place = "key" not in fields

    def plan(self) -> list[Split]:
        """Cut the list between elements, from its start: appending changes the last split only.

        Raises:
            SourceError: a file cannot be read, or is not a JSON list.
        """
        return [
            Split(f"{slug(path)}-{number:05d}", (piece,))
            for path in self.paths
            for number, piece in enumerate(self._pieces(path))
        ]

    def _pieces(self, path: str) -> Iterator[Piece]:
        data = self._whole(path)
        start, first, last_end = 0, 0, 0
        for number, (begin, end) in enumerate(self._byte_elements(path, data)):
            if number > first and (number - first >= self.rows or last_end - start >= self.size):
                yield _piece(path, data, start, last_end, first)
                first = number
            if number == first:
                start = begin
            last_end = end
        if last_end:
            yield _piece(path, data, start, last_end, first)

    def _whole(self, path: str) -> bytes:
        data = bytearray()
        for block in blocks(self.root / path):
            data += block
            if len(data) > _MAX_LIST:
                msg = f"{self.root / path}: a JSON list of more than 1 GiB; write it as JSONL, one object a line"
                raise SourceError(msg)
        return bytes(data)

    def _byte_elements(self, path: str, data: bytes) -> Iterator[tuple[int, int]]:
        """First byte and the one after the last of each element."""
        # Bytes that are not UTF-8 come back as they were; they are an error of their element, not of the list.
        text = data.decode("utf-8", "surrogateescape")
        place = at = 0
        try:
            for begin, end in _elements(text):
                place, at = place + len(text[at:begin].encode("utf-8", "surrogateescape")), begin
                first = place
                place, at = place + len(text[at:end].encode("utf-8", "surrogateescape")), end
                yield first, place
        except (ValueError, RecursionError) as error:
            msg = (
                f"{self.root / path}: is not a JSON list of {{title, text}} ({error}); JSON lines are read with "
                "source.format: jsonl, and an OpenIE output is named under triples"
            )
            raise SourceError(msg) from error

    def _parse(self, piece: Piece, data: bytes) -> Iterator[Record | BadRow]:
        text = f"[{data.decode('utf-8', 'surrogateescape')}]"
        for place, (begin, end) in enumerate(_elements(text), piece.first_line):
            yield parse_row(
                text[begin:end].encode("utf-8", "surrogateescape"),
                self._fields,
                source=piece.path,
                line=place,
                default_key=str(place - 1) if self._by_place else None,
            )


def _piece(path: str, data: bytes, start: int, end: int, first: int) -> Piece:
    return Piece(path, start, end, first + 1, hashlib.sha256(data[start:end]).hexdigest())


def _elements(text: str) -> Iterator[tuple[int, int]]:
    """Where the elements of a JSON list begin and end, in characters.

    Raises:
        ValueError: the text is not one JSON list.
    """
    place = _skip(text, len(text) - len(text.lstrip("\ufeff")))
    if place == len(text):
        return
    if text[place] != "[":
        msg = f"it begins with {text[place : place + 20]!r}"
        raise ValueError(msg)
    place = _skip(text, place + 1)
    more = not text.startswith("]", place)
    while more:
        _, end = _scan(text, place)
        yield place, end
        place = _skip(text, end)
        more = text.startswith(",", place)
        if more:
            place = _skip(text, place + 1)
    if text[place:].strip() != "]":
        msg = f"after an element, at character {place + 1}, stands {text[place : place + 20]!r}"
        raise ValueError(msg)


def _skip(text: str, place: int) -> int:
    """The next character that is not white space."""
    match = _SPACE.match(text, place)
    return match.end() if match else place
