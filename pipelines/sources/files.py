"""Sources of files: cut into pieces for planning, and verified pieces for reading."""

from __future__ import annotations

import hashlib
import json
import time
from abc import abstractmethod
from collections import Counter
from copy import copy
from dataclasses import dataclass, fields
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from mnemodex.pipelines.sources.base import COMPRESSIONS, Piece, Record, Source, Split
from mnemodex.pipelines.sources.fields import Fields, RawRows
from mnemodex.pipelines.sources.packing import Packing, pack
from mnemodex.pipelines.sources.reading import (
    BLOCK,
    MAX_BYTES,
    UNREADABLE,
    codec_of,
    file_state,
    open_stream,
    read_blocks,
    unreadable,
)
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mnemodex.pipelines.bad_row import BadRow
    from mnemodex.schemas.store.object_url import Root

_TICK = 10_000_000
"""Nanoseconds."""
CHANGED = "has changed while the build read it; start the build again"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A file, or a range of a large one, as it was when it was listed.

    Attributes:
        path: below the source root.
        bytes: of the file, or the range; compressed ones.
        state: size, times and inode of the file.
        start: the first byte of the range.
        stop: the byte after its last; 0 for a whole file.
    """

    path: str
    bytes: int
    state: tuple[int, ...]
    start: int = 0
    stop: int = 0

    @staticmethod
    def to_json(stretches: Sequence[Stretch]) -> str:
        """Return stretches as JSON, for a worker."""
        return json.dumps(list(map(_stretch_values, stretches)))

    @classmethod
    def from_json(cls, text: str) -> list[Stretch]:
        """Return the stretches that `to_json` wrote."""
        return [cls(path, size, tuple(state), *span) for path, size, state, *span in json.loads(text)]


_stretch_values = attrgetter(*(each.name for each in fields(Stretch)))


class FileSource(Source):
    """Files of one format below one root; a format is a subclass.

    Args:
        root: the folder that the paths start from.
        paths: the files below it, with forward slashes, sorted; a `SourceError` refuses names that are not Unicode.
        fields: our field names to the source's; a `SourceError` refuses any where the format has no fields.
        packing: how large pieces and splits are.
    """

    endings: ClassVar[tuple[str, ...]]
    """How the names of its files end, in lower case."""
    skipped = ""
    """How many files of the folder are no documents, by their endings."""
    left_out: Counter[str]
    """Of how many documents read so far a field is left out of the metadata, by the field's name."""
    keys: ClassVar[tuple[str, ...]] = ()
    """Fields that may hold the key of a JSON row; none for a format without fields."""

    @property
    def has_rows(self) -> bool:
        """Whether all files hold rows with fields, whose names `rows` tells."""
        return bool(self.keys)

    def __init__(self, root: Root, paths: Sequence[str], *, fields: Mapping[str, str], packing: Packing) -> None:
        try:
            # Names are keys and values of the column `source`, which are UTF-8.
            "".join(paths).encode()
        except UnicodeEncodeError:
            name = next(path for path in paths if path.encode("utf-8", "replace").decode() != path)
            raise SourceError(f"{root}: the file name {name!r} is not Unicode; rename the file") from None
        self.root, self.paths = root, tuple(paths)
        self._folder = str(root)
        self.packing = packing
        self.left_out = Counter()
        self._stream: Any = None
        self._path, self._position = "", 0
        if fields and not self.keys:
            plain = " ".join(ending for ending in self.endings if not ending.endswith(tuple(COMPRESSIONS)))
            raise SourceError(f"source.fields: {plain} files have no fields; remove source.fields")
        self._fields: Fields | RawRows = Fields(fields, keys=self.keys)

    @classmethod
    def choose(cls, folder: Root, paths: Sequence[str]) -> list[str]:
        """Return the files of this format among all files of a folder, which is for messages."""
        return [path for path in paths if path.lower().endswith(cls.endings)]

    def in_ranges(self, path: str) -> bool:
        """Return whether `cut` can begin in the midst of a file, which is not compressed."""
        return False

    @abstractmethod
    def cut(self, path: str, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        """Read a file as a stream and cut it into pieces, from its start: appending changes its last piece only.

        A file `in_ranges` may be asked for what begins from the byte `start` to before `stop`, multiples of the bytes
        of a piece; its lines count from 1.
        """

    def place(self, path: str) -> str:
        """Return where a file is; not as a `Path`, which takes as long to make as reading a small file."""
        return f"{self._folder}/{path}"

    @abstractmethod
    def _parse(self, piece: Piece, data: bytes) -> Iterator[Record | BadRow]:
        """Yield the records of one piece."""

    def _whole_file(self, path: str) -> Piece:
        """Return a file as one piece."""
        digest, size = hashlib.sha256(), 0
        for block in read_blocks(self.place(path)):
            digest.update(block)
            size += len(block)
            if size > MAX_BYTES:
                limit = f"{MAX_BYTES >> 20} MiB"
                raise SourceError(f"{self.place(path)}: a document of more than {limit}; cut the file into several")
        return Piece(path, 0, size, 1, digest.hexdigest())

    def stretches(self, size: int) -> Iterator[Stretch]:
        """Yield all files in order, those that can be read in ranges of some `size` bytes as such."""
        size = -(-size // self.packing.bytes) * self.packing.bytes
        for path in self.paths:
            state = file_state(self.place(path))
            total = state[0]
            if total > size and codec_of(path) is None and self.in_ranges(path):
                for start in range(0, total, size):
                    yield Stretch(path, min(size, total - start), state, start, start + size)
            else:
                yield Stretch(path, total, state)

    def scan(self, stretch: Stretch) -> Iterator[Piece]:
        """Cut a file, or a range of it; one that is not as it was listed is a `SourceError`."""
        # The times of a file that changes twice within a tick of the clock would not tell.
        if 0 <= time.time_ns() - stretch.state[1] < _TICK:
            time.sleep(_TICK / 1e9)
        yield from self.cut(stretch.path, stretch.start, stretch.stop or None)
        path = self.place(stretch.path)
        # Nodes may see other inodes and times of change.
        if file_state(path)[:2] != stretch.state[:2]:
            raise SourceError(f"{path}: {CHANGED}")

    def rows(self, split: Split) -> Iterator[dict[str, Any]]:
        """Yield the rows of a split as they are, those that are not JSON left out."""
        source = copy(self)
        source._fields = RawRows()
        return (row.metadata for row in source.read(split) if isinstance(row, Record))

    @override
    def plan(self) -> list[Split]:
        return list(pack(chain.from_iterable(map(self.cut, self.paths)), self.packing))

    @override
    def read(self, split: Split) -> Iterator[Record | BadRow]:
        for piece in split.pieces:
            yield from self._parse(piece, self._read_piece(piece))

    def _before(self, path: str) -> bytes:
        """Return what every piece of a file is read with, and hashed."""
        return b""

    def _read_piece(self, piece: Piece) -> bytes:
        """Return the bytes of a piece; a file that changed since the plan is a `SourceError`."""
        path = self.place(piece.path)
        try:
            if piece.path != self._path or piece.start < self._position:
                self._stream, self._path, self._position = open_stream(path), piece.path, 0
            # In a compressed file, seeking reads it in small blocks.
            if codec_of(path) is None:
                self._stream.seek(piece.start)
                self._position = piece.start
            # Skipping ends early where the file has become shorter: nothing is read then, and the checksum differs.
            while skipped := len(self._stream.read(min(piece.start - self._position, BLOCK))):
                self._position += skipped
            data: bytes = self._stream.read(piece.end - piece.start)
        except UNREADABLE as error:
            raise unreadable(path, error) from error
        self._position += len(data)
        digest = hashlib.sha256(self._before(piece.path))
        digest.update(data)
        if digest.hexdigest() != piece.sha256:
            raise SourceError(f"{path}: {CHANGED}")
        return data
