"""Taking rows over from the current snapshot, by id: moved, renamed and re-split sources compute nothing again."""

from __future__ import annotations

import json
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from mnemodex.schemas.errors import CorruptFileError
from mnemodex.schemas.manifest import Stats, fingerprint
from mnemodex.schemas.store import parquet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from mnemodex.schemas.manifest import Artifact, TableEntry
    from mnemodex.schemas.store.store import Store

_ARRAYS = ("ids", "partition", "row")


class Known(NamedTuple):
    """Which of some ids the current snapshot's table has, and where.

    Attributes:
        known: bool of shape (ids,).
        partition: number of the partition, int32 of shape (ids,); of no meaning where an id is not known.
        row: its row there, int64 of shape (ids,).
    """

    known: NDArray[np.bool_]
    partition: NDArray[np.int32]
    row: NDArray[np.int64]


def write_former(store: Store, folder: str, entry: TableEntry, id_column: str) -> None:
    """Write where the rows of a table are, sorted by id, for the workers of a step: 20 bytes a row.

    A partition that is damaged is left out: its rows would only have saved work.
    """
    found: list[list[NDArray[Any]]] = [[np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64)]]
    for number, part in enumerate(entry.partitions):
        try:
            path = store.files.check(part.file(".parquet"))
        except CorruptFileError:
            continue
        ids = parquet.read(path, columns=[id_column])[id_column].to_numpy()
        found.append([ids, np.full(len(ids), number, np.int32), np.arange(len(ids))])
    arrays = [np.concatenate(column) for column in zip(*found, strict=True)]
    order = np.argsort(arrays[0], kind="stable")
    target = store.root / folder
    target.mkdir(parents=True, exist_ok=True)
    for name, array in zip(_ARRAYS, arrays, strict=True):
        np.save(target / f"{name}.npy", array[order], allow_pickle=False)
    write_places(store, folder, entry)


def write_places(store: Store, folder: str, entry: TableEntry) -> None:
    """Write where the partitions of a table are."""
    target = store.root / folder
    target.mkdir(parents=True, exist_ok=True)
    (target / "places.json").write_text(json.dumps([part.place for part in entry.partitions]))


class Former:
    """The rows of a table in the current snapshot; none where they were made differently.

    Args:
        store: the memory.
        folder: what `write_former` or `write_places` wrote, below the memory.
    """

    def __init__(self, store: Store, folder: str) -> None:
        self._store = store
        self._folder = store.root / folder
        self._file = lru_cache(maxsize=8)(self._checked)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return (self._folder / "places.json").is_file()

    def find(self, ids: NDArray[np.int64]) -> Known:
        """Look ids up."""
        ordered, partition, row = self._arrays
        if not len(ordered):
            return Known(np.zeros(len(ids), np.bool_), np.zeros(len(ids), np.int32), np.zeros(len(ids), np.int64))
        place = np.minimum(np.searchsorted(ordered, ids), len(ordered) - 1)
        return Known(ordered[place] == ids, partition[place], row[place])

    def fill(self, known: Known, target: NDArray[Any]) -> NDArray[np.bool_]:
        """Copy the rows of the partitions' matrices (`.npy`) into `target`; return which ids were filled in.

        Args:
            known: where the ids are.
            target: of shape (ids, numbers), in the order of the ids.
        """
        filled = np.zeros(len(known.known), np.bool_)
        for number, here in self._by_partition(known):
            path = self._file(number, ".npy")
            if path is not None:
                matrix = np.load(path, mmap_mode="r", allow_pickle=False)
                target[here] = matrix[known.row[here]]
                filled[here] = True
        return filled

    def column(self, known: Known, name: str, target: NDArray[Any]) -> None:
        """Copy one column of the rows into `target`, of shape (ids,)."""
        for number, here in self._by_partition(known):
            path = self._file(number, ".parquet")
            if path is not None:
                target[here] = parquet.read(path, columns=[name])[name].to_numpy()[known.row[here]]

    def take(self, ids: NDArray[np.int64], schema: pa.Schema) -> pa.Table:
        """Return the rows of those ids that the table has, in no order."""
        known = self.find(ids)
        paths = ((self._file(number, ".parquet"), here) for number, here in self._by_partition(known))
        tables = [parquet.read(path).take(known.row[here]).cast(schema) for path, here in paths if path is not None]
        return pa.concat_tables([schema.empty_table(), *tables])

    def stats(self) -> Stats:
        """Return the stats of the first partition."""
        artifact = self._store.artifact(self._places[0]) if self and self._places else None
        return artifact.stats if artifact is not None else Stats()

    def partitions(self) -> list[Path]:
        """Return the Parquet files of all partitions; none where one of them is damaged."""
        paths = [self._file(number, ".parquet") for number in range(len(self._places))] if self else []
        return [path for path in paths if path is not None] if None not in paths else []

    def _by_partition(self, known: Known) -> Iterator[tuple[int, NDArray[np.intp]]]:
        places = np.flatnonzero(known.known)
        for number in np.unique(known.partition[places]):
            yield int(number), places[known.partition[places] == number]

    @cached_property
    def _arrays(self) -> list[NDArray[Any]]:
        return [np.load(self._folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS]

    @cached_property
    def _places(self) -> list[str]:
        places: list[str] = json.loads((self._folder / "places.json").read_text())
        return places

    def _checked(self, number: int, ending: str) -> Path | None:
        """Return a file of a partition, or None where it is damaged."""
        artifact: Artifact | None = self._store.artifact(self._places[number])
        try:
            return self._store.files.check(artifact.file(ending)) if artifact else None
        except CorruptFileError:
            return None


def former_folder(run: str, step: str, read: str = "") -> str:
    """Return where the current rows of a step's result, or of a table that it reads, are listed."""
    return f"{run}/former/{fingerprint(step, read)}"
