"""Taking rows over from the current snapshot, by id: moved, renamed and re-split sources compute nothing again."""

from __future__ import annotations

import fcntl
import json
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from mnemodex.schemas.errors import CorruptFileError
from mnemodex.schemas.manifest import Stats, fingerprint
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers, to_column

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mnemodex.indexers.arrays import Array, Bools, Int64s
    from mnemodex.schemas.manifest import Artifact, TableEntry
    from mnemodex.schemas.store.store import Store

_BUCKET_ROWS = 4 << 20
"""Rows of one range of ids that are sorted at once: about 200 MB."""


class Known(NamedTuple):
    """Which of some ids the current snapshot's table has, and where.

    Attributes:
        known: bool of shape (ids,).
        partition: number of the partition, int64 of shape (ids,); of no meaning where an id is not known.
        row: its row there, of several with one id the first; int64 of shape (ids,).
    """

    known: Bools
    partition: Int64s
    row: Int64s


class _Listed(NamedTuple):
    """What is written of a table: the places of its partitions, by which ids its rows are looked up, and its rows."""

    places: list[str]
    column: str
    rows: int


def write_former(store: Store, folder: str, entry: TableEntry, column: str = "") -> None:
    """Write for the workers of a step where the partitions of a table are, and by which ids its rows are looked up."""
    listed = _Listed([part.place for part in entry.partitions], column, entry.rows)
    # A build that is stopped writes it again, below another folder.
    store.files.put_note(f"{folder}/table.json", json.dumps(listed).encode())


class Former:
    """The rows of a table in the current snapshot; none where they were made differently.

    Its ids are sorted by the first worker that looks one up, range by range, and kept for the others while the build
    runs. A partition that is damaged is left out: its rows would only have saved work.

    The folder, below the memory, is the one that `write_former` wrote. Workers of a memory in an object store sort ids
    for themselves.
    """

    def __init__(self, store: Store, folder: str) -> None:
        self._store = store
        self._listed = f"{folder}/table.json"
        self._folder = store.files.scratch / folder
        self._file = lru_cache(maxsize=8)(self._checked)
        self._range = lru_cache(maxsize=64)(self._sorted_ids)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return self._store.files.exists(self._listed)

    @property
    def column(self) -> str:
        """The ids by which rows are looked up."""
        return self._table.column

    def find(self, ids: Int64s) -> Known:
        """Look ids up."""
        known = Known(np.zeros(len(ids), np.bool_), np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64))
        bits = (self._table.rows // _BUCKET_ROWS).bit_length()
        bucket = _bucket(ids, bits)
        for number in np.unique(bucket).tolist():
            ordered, partition, row = self._range(number, bits)
            here = np.flatnonzero(bucket == number)
            if len(ordered):
                place = np.minimum(np.searchsorted(ordered, ids[here]), len(ordered) - 1)
                known.known[here] = ordered[place] == ids[here]
                known.partition[here], known.row[here] = partition[place], row[place]
        return known

    def fill(self, known: Known, target: Array) -> Bools:
        """Copy rows of the partitions' `.npy` into `target`, of shape (ids, numbers); return which ids it now has."""
        return self._copy(known, ".npy", lambda path: np.load(path, mmap_mode="r", allow_pickle=False), target)

    def values(self, known: Known, name: str, target: Array) -> Bools:
        """Copy one column of the rows into `target`, of shape (ids,); return which ids were filled in."""
        return self._copy(known, ".parquet", lambda path: parquet.column(path, name), target)

    def _copy(self, known: Known, ending: str, read: Callable[[Path], Array], target: Array) -> Bools:
        filled = np.zeros(len(known.known), np.bool_)
        for number, here in self._by_partition(known):
            path = self._file(number, ending)
            if path is not None:
                target[here] = read(path)[known.row[here]]
                filled[here] = True
        return filled

    def named(self, known: Known, ending: str) -> Bools:
        """Return which ids are of rows that a file of row numbers names, which a partition may have."""
        found = np.zeros(len(known.known), np.bool_)
        for number, here in self._by_partition(known):
            path = self._file(number, ending)
            if path is not None:
                found[here] = np.isin(known.row[here], np.load(path, allow_pickle=False))
        return found

    def take(self, ids: Int64s, schema: pa.Schema) -> pa.Table:
        """Return all rows with one of the ids; those of one id follow each other as in their partition."""
        tables = [pa.Table.from_batches([], schema)]
        for number, here in self._by_partition(self.find(ids)):
            path = self._file(number, ".parquet")
            if path is not None:
                rows = parquet.read(path)
                chosen = np.flatnonzero(np.isin(numbers(rows[self.column]), ids[here]))
                tables.append(rows.take(to_column(chosen, pa.int64())).cast(schema))
        return pa.concat_tables(tables)

    def stats(self) -> Stats:
        """Return the stats of the first partition."""
        artifact = self._store.artifact(self._table.places[0]) if self and self._table.places else None
        return artifact.stats if artifact is not None else Stats()

    def partition(self, number: int) -> Path | None:
        """Return the Parquet file of a partition; None where there is none, or it is damaged."""
        return self._file(number, ".parquet") if number < len(self.places) else None

    def file(self, label: str, ending: str) -> Path | None:
        """Return a file of the partition with a label; None where there is none, or it is damaged."""
        labels = [place.rpartition("/")[2].rpartition("-")[0] for place in self.places]
        return self._file(labels.index(label), ending) if label in labels else None

    def partitions(self) -> list[Path]:
        """Return the Parquet files of all partitions; none where one of them is damaged."""
        paths = [self._file(number, ".parquet") for number in range(len(self._table.places))] if self else []
        return [path for path in paths if path is not None] if None not in paths else []

    @property
    def places(self) -> list[str]:
        """Where the partitions are."""
        return self._table.places if self else []

    def folder(self, number: int = 0) -> Path | None:
        """Return the folder of a partition, every file checked; None where there is none, or it is damaged."""
        artifact = self._store.artifact(self.places[number]) if number < len(self.places) else None
        try:
            for file in artifact.files if artifact is not None else ():
                self._store.files.local(file)
        except CorruptFileError:
            return None
        return self._store.files.path(artifact.folder) if artifact is not None else None

    def _by_partition(self, known: Known) -> Iterator[tuple[int, Int64s]]:
        places = np.flatnonzero(known.known)
        for number in np.unique(known.partition[places]):
            yield int(number), places[known.partition[places] == number]

    @cached_property
    def _table(self) -> _Listed:
        return _Listed(*json.loads(self._store.files.read(self._listed)))

    def _sorted_ids(self, bucket: int, bits: int) -> Int64s:
        """Return ids, partitions and rows of one of `1 << bits` ranges of ids, sorted; int64 of shape (3, ids)."""
        path = self._folder / f"{bucket}.npy"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            with path.with_suffix(".lock").open("w") as lock:
                fcntl.lockf(lock, fcntl.LOCK_EX)
                if not path.exists():
                    unfinished = path.with_suffix(".part.npy")
                    np.save(unfinished, self._sort_ids(bucket, bits), allow_pickle=False)
                    unfinished.rename(path)
        found: Int64s = np.load(path, mmap_mode="r", allow_pickle=False)
        return found

    def _sort_ids(self, bucket: int, bits: int) -> Int64s:
        parts = [np.zeros((3, 0), np.int64)]
        for number, place in enumerate(self._table.places):
            artifact = self._store.artifact(place)
            if artifact is None:
                continue
            try:
                # Page checksums are enough to look ids up; a file is checked before its rows are taken.
                ids = parquet.column(self._store.files.unchecked(artifact.file(".parquet")), self.column)
            except (OSError, CorruptFileError):
                continue
            rows = np.flatnonzero(_bucket(ids, bits) == bucket)
            # Rows with one id follow each other.
            rows = rows[np.append(True, np.diff(ids[rows]) != 0)[: len(rows)]]
            parts.append(np.stack([ids[rows], np.full(len(rows), number), rows]))
        found = np.concatenate(parts, axis=1)
        return found[:, np.argsort(found[0], kind="stable")]

    def _checked(self, number: int, ending: str) -> Path | None:
        """Return a file of a partition, or None where there is none, or it is damaged."""
        artifact: Artifact | None = self._store.artifact(self._table.places[number])
        file = next((file for file in artifact.files if file.path.endswith(ending)), None) if artifact else None
        try:
            return self._store.files.local(file) if file is not None else None
        except CorruptFileError:
            return None


def _bucket(ids: Int64s, bits: int) -> Int64s:
    """Return in which of `1 << bits` ranges of 63-bit numbers ids are."""
    return np.clip(ids, 0, None) >> (63 - bits)


def former_folder(run: str, step: str, read: str = "") -> str:
    """Return where the current rows of a step's result, or of a table that it reads, are listed."""
    return f"{run}/former/{fingerprint(step, read)}"
