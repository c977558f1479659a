"""CSV and TSV: a header, then one document a record; a quoted field may hold delimiters and line ends (RFC 4180)."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from typing_extensions import override

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.sources.base import Record
from mnemodex.pipelines.sources.cutting import Marked, Origin, compressed, cut_records, drop
from mnemodex.pipelines.sources.fields import KEYS, not_utf8
from mnemodex.pipelines.sources.files import FileSource
from mnemodex.pipelines.sources.reading import BOM, MAX_BYTES, read_blocks
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mnemodex.indexers.arrays import Bools, Int64s, Uint8s
    from mnemodex.pipelines.sources.base import Piece
    from mnemodex.pipelines.sources.packing import Packing
    from mnemodex.schemas.store.object_url import Root

_DELIMITERS = ",\t;|"
_QUOTE, _LINE_END, _RETURN = b'"\n\r'
_DOUBLE = 'double a quote inside a quoted field (""), and put a field with a quote in quotes'

# The library's own limit of 128 KiB is for all readers of a process; a document may be longer.
csv.field_size_limit(max(MAX_BYTES, csv.field_size_limit()))


class _Begin(NamedTuple):
    """Where the first record of a file begins, the record, and what is between its cells."""

    start: int
    record: bytes
    delimiter: str


class DelimitedSource(FileSource):
    """Records of a CSV or TSV file. The values are strings, and an empty cell is no metadata.

    Args:
        delimiter: between cells; by default the one of comma, tab, semicolon and bar that the header has most often.
        header: whether the first record names the columns; else they are called by their numbers, from 1.
    """

    endings = compressed(".csv", ".tsv", ".tab")
    keys = KEYS

    def __init__(
        self,
        root: Root,
        paths: Sequence[str],
        *,
        fields: Mapping[str, str],
        packing: Packing,
        delimiter: str | None = None,
        header: bool = True,
    ) -> None:
        super().__init__(root, paths, fields=fields, packing=packing)
        self._delimiter, self._has_header = delimiter, header
        self._begun: tuple[str, _Begin] | None = None

    @override
    def cut(self, path: str, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        place, begin = self.place(path), self._begin(path)
        if begin.record:
            self._names(path)
        line = 1 + begin.record.count(b"\n") * self._has_header
        first = begin.start + len(begin.record) * self._has_header
        marked = mark_csv(drop(read_blocks(place), first), place, begin.delimiter, first_line=line)
        origin, hint = Origin(first, line, begin.record), "is a quote missing?"
        rows, size = self.packing.rows, self.packing.bytes
        yield from cut_records(marked, path, rows=rows, size=size, origin=origin, hint=hint)

    @override
    def _before(self, path: str) -> bytes:
        return self._begin(path).record

    def _begin(self, path: str) -> _Begin:
        """Return how a file begins; that of the last file is kept."""
        if self._begun is None or self._begun[0] != path:
            start, record = 0, bytearray()
            for number, block in enumerate(read_blocks(self.place(path))):
                start = len(BOM) if not number and block.startswith(BOM) else start
                record += block[start:] if not number else block
                marked = next(mark_csv([bytes(record)], path, None)) if record else None
                if marked is not None and len(marked.ends):
                    del record[int(marked.ends[0]) :]
                    break
            delimiter = self._delimiter or max(_DELIMITERS, key=lambda one: record.count(one.encode()))
            self._begun = path, _Begin(start, bytes(record), delimiter)
        return self._begun[1]

    def _names(self, path: str) -> list[str]:
        """Return the names of the columns; a `SourceError` says why they are none."""
        _, header, delimiter = self._begin(path)
        try:
            text = header.decode()
        except UnicodeDecodeError as error:
            raise SourceError(f"{self.place(path)}: line 1 {not_utf8(error)}") from error
        if "\r" in text.rstrip("\r\n"):
            raise SourceError(f"{self.place(path)}: lines end with a carriage return; write it with \\n or \\r\\n")
        cells = next(csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter), [])
        if not self._has_header:
            return [str(number) for number in range(1, len(cells) + 1)]
        names = [name.strip() or f"column {number}" for number, name in enumerate(cells, 1)]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise SourceError(f"{self.place(path)}: line 1 names the column {twice!r} twice; rename one")
        return names

    @override
    def _parse(self, piece: Piece, data: bytes) -> Iterator[Record | BadRow]:
        names, delimiter = self._names(piece.path), self._begin(piece.path).delimiter
        # Bytes that are no text show in the rows that have them.
        lines = io.StringIO(data.decode("utf-8", "surrogateescape"), newline="\n")
        rows = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            line = piece.first_line + rows.line_num
            try:
                cells = next(rows, None)
            except csv.Error as error:
                yield BadRow.of(piece.path, line, f"is not CSV ({error}); {_DOUBLE}", b"")
                continue
            if cells is None:
                return
            if cells:
                yield self._record(names, cells, delimiter, piece.path, line)

    def _record(self, names: list[str], cells: list[str], delimiter: str, path: str, line: int) -> Record | BadRow:
        shown = delimiter.join(cells).encode("utf-8", "surrogateescape")
        if len(cells) != len(names):
            remedy = f"put a cell with {delimiter!r} in quotes"
            return BadRow.of(path, line, f"has {len(cells)} cells, and the header {len(names)}; {remedy}", shown)
        try:
            shown.decode()
        except UnicodeDecodeError as error:
            return BadRow.of(path, line, not_utf8(error), shown)
        record = self._fields.record(dict(zip(names, cells, strict=True)), source=path, line=line, shown=shown)
        if isinstance(record, Record):
            filled = {name: value for name, value in record.metadata.items() if value}
            return replace(record, metadata=filled)
        return record


def mark_csv(blocks: Iterable[bytes], place: str, delimiter: str | None, *, first_line: int = 1) -> Iterator[Marked]:
    """Mark the line ends that are outside of quotes; a quote that RFC 4180 does not allow is a `SourceError`.

    Args:
        blocks: from the beginning of a record on.
        place: the file, for the message.
        delimiter: between cells; None where it is not known, and quotes are not checked.
        first_line: of the first block.
    """
    # Whether the block begins in a quoted field, and in which line that was opened; the byte in front.
    inside, opened, previous, line = 0, first_line, _LINE_END, first_line
    for block in blocks:
        data = np.frombuffer(block, np.uint8)
        quotes, breaks = np.flatnonzero(data == _QUOTE), np.flatnonzero(data == _LINE_END)
        # A doubled quote closes the field and opens it again.
        opens = (np.arange(len(quotes)) + inside) % 2 == 0
        lines = line + np.searchsorted(breaks, quotes)
        if delimiter is not None:
            stray = _first_stray(data, quotes, opens, previous=previous, inside=inside, delimiter=delimiter)
            if stray is not None:
                number = int(lines[stray]) if stray >= 0 else line
                begun = int(lines[stray - 1]) if stray > 0 else opened
                of = f" in the field that is opened in line {begun}" if stray >= 0 and not opens[stray] else ""
                raise SourceError(f"{place}: line {number} has a stray quote{of}; {_DOUBLE}")
        if opens.any():
            opened = int(lines[opens][-1])
        outside = (np.searchsorted(quotes, breaks) + inside) % 2 == 0
        yield Marked(block, breaks[outside] + 1, np.flatnonzero(outside) + 1, len(breaks))
        inside, previous, line = (inside + len(quotes)) % 2, int(data[-1]), line + len(breaks)
    if inside and delimiter is not None:
        raise SourceError(f"{place}: line {opened} opens a quoted field that is never closed; {_DOUBLE}")


def _first_stray(
    data: Uint8s, quotes: Int64s, opens: Bools, *, previous: int, inside: int, delimiter: str
) -> int | None:
    """Return which quote stands neither at the edge of a field nor doubled; -1 for the byte in front, None for none."""
    edges = np.zeros(256, bool)
    edges[[ord(delimiter), _LINE_END, _QUOTE]] = True
    around = np.concatenate([np.array([previous], np.uint8), data, np.array([_LINE_END], np.uint8)])
    before = edges[around[quotes]]
    edges[_RETURN] = True
    if previous == _QUOTE and not inside and not edges[data[0]]:
        return -1
    wrong = np.flatnonzero(~np.where(opens, before, edges[around[quotes + 2]]))
    return int(wrong[0]) if len(wrong) else None
