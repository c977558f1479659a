"""Files of tables: their blocks of rows are cut by rows and bytes, and read batch by batch."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import pyarrow as pa
from typing_extensions import override

from mnemodex.pipelines.sources.arrow_values import python_rows
from mnemodex.pipelines.sources.base import Piece, Record
from mnemodex.pipelines.sources.fields import KEYS
from mnemodex.pipelines.sources.files import CHANGED, FileSource
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mnemodex.pipelines.bad_row import BadRow
    from mnemodex.pipelines.sources.packing import Packing
    from mnemodex.schemas.store.object_url import Root


class Blocks(Protocol):
    """An open file of tables.

    Attributes:
        schema: of all blocks.
        sizes: rows, and bytes in memory, of each block in order.
    """

    schema: pa.Schema
    sizes: Sequence[tuple[int, int]]

    def digest(self, number: int) -> str:
        """Return a hash of the schema and of all that a block is read from."""

    def batches(self, number: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a block in order, some at a time."""


class TableSource(FileSource):
    """Files of tables, each row a document; a format says how a file is opened.

    A piece is some rows of one block, and its hash is of the whole block: the stored bytes of a row lie apart.
    """

    keys = KEYS
    what: ClassVar[str]
    """The format's name, for messages."""

    def __init__(self, root: Root, paths: Sequence[str], *, fields: Mapping[str, str], packing: Packing) -> None:
        super().__init__(root, paths, fields=fields, packing=packing)
        self._cursor: tuple[str, _Cursor] | None = None

    @abstractmethod
    def _open(self, place: str) -> Blocks:
        """Open a file."""

    @override
    def cut(self, path: str, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        with self._naming(path):
            file = self._open(self.place(path))
            names = file.schema.names
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise SourceError(f"{self.place(path)}: two columns have the name {twice!r}; rename one")
            first, position = 1, 0
            for number, (rows, size) in enumerate(file.sizes):
                step = min(self.packing.rows, max(1, rows * self.packing.bytes // max(size, 1)))
                digest = file.digest(number) if rows else ""
                for begin in range(0, rows, step):
                    end = min(begin + step, rows)
                    start, stop = (position + size * bound // rows for bound in (begin, end))
                    yield Piece(path, start, stop, first + begin, _piece_hash(digest, begin, end), end - begin)
                first, position = first + rows, position + size

    @override
    def _read_piece(self, piece: Piece) -> bytes:
        # Its rows are read one by one where they are parsed.
        return b""

    @override
    def _parse(self, piece: Piece, data: bytes) -> Iterator[Record | BadRow]:
        with self._naming(piece.path):
            if self._cursor is None or self._cursor[0] != piece.path:
                self._cursor = piece.path, _Cursor(self._open(self.place(piece.path)))
            line = piece.first_line
            for batch in self._cursor[1].rows_of(piece):
                for row in python_rows(batch):
                    record = self._fields.record(row, source=piece.path, line=line)
                    yield self._without_bytes(record) if isinstance(record, Record) else record
                    line += 1

    def _without_bytes(self, record: Record) -> Record:
        """Return a record without metadata that is bytes, such as images and sounds, and count what is left out."""
        names = [name for name, value in record.metadata.items() if isinstance(value, bytes)]
        if not names:
            return record
        self.left_out.update(names)
        return replace(record, metadata={name: value for name, value in record.metadata.items() if name not in names})

    @contextmanager
    def _naming(self, path: str) -> Iterator[None]:
        """Turn what Arrow raises into a `SourceError`."""
        try:
            yield
        except _ChangedError as error:
            raise SourceError(f"{self.place(path)}: {CHANGED}") from error
        except (pa.ArrowException, OSError) as error:
            said = str(error).partition("\n")[0]
            problem = f"cannot be read as {self.what} ({said}); write or download it again"
            raise SourceError(f"{self.place(path)}: {problem}") from error


class _ChangedError(Exception):
    """A file is not as it was planned."""


class _Cursor:
    """A place in an open file, from where rows are read on."""

    def __init__(self, file: Blocks) -> None:
        self._file = file
        self._starts = np.cumsum([0, *(rows for rows, _ in file.sizes)])
        self._block, self._row, self._digest = -1, 0, ""
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._rest: pa.RecordBatch | None = None

    def rows_of(self, piece: Piece) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a piece; a `_ChangedError` says that they are others than was planned."""
        block = int(np.searchsorted(self._starts, piece.first_line - 1, side="right")) - 1
        if block >= len(self._file.sizes):
            raise _ChangedError
        begin = piece.first_line - 1 - int(self._starts[block])
        if block != self._block or begin < self._row:
            if block != self._block:
                self._digest = self._file.digest(block)
            self._block, self._row = block, 0
            self._batches, self._rest = self._file.batches(block), None
        if _piece_hash(self._digest, begin, begin + piece.rows) != piece.sha256:
            raise _ChangedError
        while self._row < begin:
            self._take(begin - self._row)
        while self._row < begin + piece.rows:
            yield self._take(begin + piece.rows - self._row)

    def _take(self, most: int) -> pa.RecordBatch:
        """Return the next rows, at most so many."""
        batch = self._rest if self._rest is not None else next(self._batches)
        taken = batch[:most]
        self._rest = batch[most:] if most < len(batch) else None
        self._row += len(taken)
        return taken


def _piece_hash(digest: str, begin: int, end: int) -> str:
    return hashlib.sha256(f"{digest} {begin} {end}".encode()).hexdigest()
