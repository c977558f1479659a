"""Arrow files: those of Hugging Face's `save_to_disk`, and any others of the stream or the file format."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from typing_extensions import override

from mnemodex.pipelines.sources.reading import open_plain, read_blocks
from mnemodex.pipelines.sources.tables import Blocks, TableSource
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.store.object_url import STARTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.schemas.store.object_url import Root

_ROWS = 256
"""Rows of a batch: values of any length."""
_FILE_FORMAT = b"ARROW1\0\0"
"""What precedes the stream in the file format."""
_STATE = "state.json"


class ArrowSource(TableSource):
    """Arrow files, whose blocks are record batches; of a saved data set those that its `state.json` names."""

    endings = (".arrow", ".feather")
    what = "Arrow"

    @override
    @classmethod
    def choose(cls, folder: Root, paths: Sequence[str]) -> list[str]:
        found = super().choose(folder, paths)
        for state in (PurePosixPath(path) for path in paths if PurePosixPath(path).name == _STATE):
            named = _saved_files(f"{folder}/{state}")
            if named is None:
                continue
            below = [(state.parent / name).as_posix() for name in named]
            if lost := next((path for path in below if path not in found), None):
                raise SourceError(
                    f"{folder}/{state}: names {lost}, which is not there; save or copy the data set again"
                )
            found = [path for path in found if PurePosixPath(path).parent != state.parent or path in below]
        return found

    @override
    def _open(self, place: str) -> Blocks:
        return _Batches(place)


class _Batches(Blocks):
    """An open Arrow file, mapped: what is passed over is not read."""

    def __init__(self, place: str) -> None:
        self._file = pa.PythonFile(open_plain(place)) if place.startswith(STARTS) else pa.memory_map(place)
        begins = self._file.read(len(_FILE_FORMAT)) == _FILE_FORMAT
        self._begin = len(_FILE_FORMAT) if begins else 0
        reader = self._reader()
        self.schema: pa.Schema = reader.schema
        self.sizes: list[tuple[int, int]] = []
        # Where each batch begins, with the dictionaries in front of it, and the end of the last.
        self._bounds = [self._file.tell()]
        for batch in reader:
            self.sizes.append((batch.num_rows, batch.nbytes))
            self._bounds.append(self._file.tell())
        self._ahead, self._next = self._reader(), 0

    def _reader(self) -> Any:
        self._file.seek(self._begin)
        return pa.ipc.open_stream(self._file)

    @override
    def digest(self, number: int) -> str:
        digest = hashlib.sha256(self.schema.remove_metadata().serialize())
        # A batch may need the dictionaries of all before it.
        first = 0 if any(map(pa.types.is_dictionary, self.schema.types)) else number
        at = self._file.tell()
        for begin, end in pairwise(self._bounds[first : number + 2]):
            self._file.seek(begin)
            digest.update(self._file.read_buffer(end - begin))
        self._file.seek(at)
        return digest.hexdigest()

    @override
    def batches(self, number: int) -> Iterator[pa.RecordBatch]:
        if number < self._next:
            self._ahead, self._next = self._reader(), 0
        while self._next < number:
            self._ahead.read_next_batch()
            self._next += 1
        batch = self._ahead.read_next_batch()
        self._next += 1
        yield from (batch[begin : begin + _ROWS] for begin in range(0, len(batch), _ROWS))


def _saved_files(state: str) -> list[str] | None:
    """Return the files that the state of a data set names; None for another JSON file of that name."""
    try:
        saved = json.loads(b"".join(read_blocks(state)))
        named = [file["filename"] for file in saved["_data_files"]]
    except (ValueError, TypeError, LookupError):
        return None
    if saved.get("_indices_data_files"):
        raise SourceError(f"{state}: its rows are in an order of their own; save the data set after flatten_indices()")
    return named
