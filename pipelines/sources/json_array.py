"""JSON files that hold one list of objects, each a document; HippoRAG's corpora are such lists of passages."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from mnemodex.pipelines.sources.cutting import Marked, Origin, compressed, cut_records
from mnemodex.pipelines.sources.fields import KEYS
from mnemodex.pipelines.sources.files import FileSource
from mnemodex.pipelines.sources.reading import read_blocks
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.bad_row import BadRow
    from mnemodex.pipelines.sources.base import Piece, Record
    from mnemodex.schemas.store.object_url import Root

_OPEN = re.compile(rb"(?:\xef\xbb\xbf)*[ \t\n\r]*(\[?)")
_SPACE = b" \t\n\r"
_QUOTE, _BACKSLASH, _COMMA = b'"\\,'
_DEEPER = np.zeros(256, np.int8)
_DEEPER[list(b"[{")], _DEEPER[list(b"]}")] = 1, -1
_TELLING = _DEEPER != 0
_TELLING[[_QUOTE, _BACKSLASH, _COMMA]] = True
_REMEDY = "set source.format: jsonl for JSON lines, and name an OpenIE output under triples"


class JsonSource(FileSource):
    """A list of objects. A row's number in the list, from 0, is its key where it has none (Gutierrez et al., 2024)."""

    endings = compressed(".json")
    keys = ("idx", *KEYS)

    @override
    @classmethod
    def choose(cls, folder: Root, paths: Sequence[str]) -> list[str]:
        # Rows of several lists would have the same numbers as keys, and most JSON of a folder is no corpus.
        return []

    @override
    def cut(self, path: str, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        blocks = read_blocks(self.place(path))
        first = next(blocks, b"")
        opened = _OPEN.match(first)
        begin = opened.end() if opened is not None else 0
        if opened is not None and opened[1]:
            marked = mark_elements(chain([first[begin:]], blocks), self.place(path))
            rows, size = self.packing.rows, self.packing.bytes
            hint = "write the rows as JSONL, one object a line"
            yield from cut_records(marked, path, rows=rows, size=size, origin=Origin(begin), hint=hint)
        elif begin < len(first):
            raise _no_list(self.place(path), f"it begins with {_quote(first[begin:])}")

    @override
    def _parse(self, piece: Piece, data: bytes) -> Iterator[Record | BadRow]:
        start, separators = 0, _Structure().separators(data)[0].tolist()
        for line, end in enumerate([*separators, len(data)], piece.first_line):
            row = data[start:end].strip(_SPACE)
            # Behind the last separator of a piece there is nothing.
            if row or end < len(data):
                key = str(line - 1) if self.paths == (piece.path,) else f"{piece.path}:{line - 1}"
                yield self._fields.parse(row, source=piece.path, line=line, default_key=key)
            start = end + 1


def is_list(place: str) -> bool:
    """Return whether a JSON file begins like a list."""
    opened = _OPEN.match(next(read_blocks(place), b""))
    return opened is not None and opened[1] != b""


class _Structure:
    """What is known of a list up to a block: whether a string is open, an escape, and how deep in it we are."""

    def __init__(self) -> None:
        self.in_string = self.backslashes = 0
        self.depth = 1

    def separators(self, block: bytes) -> tuple[Int64s, int]:
        """Return where commas between elements are in the next block, and where the list ends, -1 for not in it."""
        data = np.frombuffer(block, np.uint8)
        places = np.flatnonzero(_TELLING[data])
        codes = data[places]
        quotes = codes == _QUOTE
        quotes[quotes] = ~self._escaped(places[codes == _BACKSLASH], places[quotes], len(block))
        # A character's own quote counts too: it is no comma and no bracket.
        outside = (np.cumsum(quotes) + self.in_string) % 2 == 0
        depths = self.depth + np.cumsum(np.where(outside, _DEEPER[codes], 0))
        closed = np.flatnonzero(depths <= 0)
        commas = places[outside & (codes == _COMMA) & (depths == 1)]
        self.in_string = (self.in_string + int(quotes.sum())) % 2
        self.depth = int(depths[-1]) if len(depths) else self.depth
        if not len(closed):
            return commas, -1
        self.depth, end = 0, int(places[closed[0]])
        return commas[commas < end], end

    def _escaped(self, backslashes: Int64s, quotes: Int64s, size: int) -> Int64s:
        """Return which quotes follow an odd number of backslashes; those that end the block are kept for the next."""
        before = self.backslashes
        new = np.diff(backslashes, prepend=-2) > 1
        begins = backslashes[np.maximum.accumulate(np.where(new, np.arange(len(new)), 0))]
        runs = backslashes - begins + 1 + np.where(begins == 0, before, 0)
        at = np.searchsorted(backslashes, quotes - 1)
        follows = at < len(backslashes)
        follows[follows] = backslashes[at[follows]] == quotes[follows] - 1
        odd = np.zeros(len(quotes), bool)
        odd[follows] = runs[at[follows]] % 2 == 1
        odd |= (quotes == 0) & (before % 2 == 1)
        ended = len(backslashes) and int(backslashes[-1]) == size - 1
        self.backslashes = int(runs[-1]) if ended else (before if not size else 0)
        return odd


def mark_elements(blocks: Iterable[bytes], place: str) -> Iterator[Marked]:
    """Mark the commas behind the elements of a list, whose bytes begin behind its bracket, and the list's end.

    Raises:
        SourceError: the list has no end, or something follows it.
    """
    structure, ended, filled, count = _Structure(), False, False, 0
    for block in blocks:
        if ended:
            _check_rest(block, place)
            continue
        commas, end = structure.separators(block)
        count += len(commas)
        ends = commas + 1
        tail = block[int(ends[-1]) if len(ends) else 0 : end if end >= 0 else len(block)]
        filled = bool(tail.strip(_SPACE)) or (filled and not len(ends))
        if end >= 0:
            ended = True
            _check_rest(block[end + 1 :], place)
            if not filled and count:
                raise _no_list(place, f"nothing follows the comma behind element {count}")
            ends = np.append(ends, [end] * filled)
        held = block if end < 0 else block[: end if filled else 0]
        yield Marked(held, ends, np.arange(1, len(ends) + 1), len(ends))
    if not ended:
        where = "in a string, where a quote may be missing, " if structure.in_string else ""
        raise _no_list(place, f"it ends {where}behind element {count}, and the list is not closed")


def _check_rest(block: bytes, place: str) -> None:
    if rest := block.strip(_SPACE):
        raise _no_list(place, f"the list is followed by {_quote(rest)}")


def _no_list(place: str, why: str) -> SourceError:
    return SourceError(f"{place}: is not a JSON list of objects ({why}); {_REMEDY}")


def _quote(data: bytes) -> str:
    return repr(data[:20].decode("utf-8", "replace"))
