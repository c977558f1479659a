"""Rows of partitions by position, of which the columns of row groups that were read last are kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mnemodex.schemas.errors import START_OVER, CorruptFileError
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import to_column

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MOST_BYTES = 1 << 28
"""Of columns that are kept, decoded: those of some 100,000 chunks of 100 words, with their documents' keys."""


class RowGroups:
    """Takes rows of partitions by position; may be shared by threads.

    For a single row its whole row group is read and decoded, columns that are asked for alone. These are kept until
    others have been used since that have `most_bytes` together.

    Attributes:
        bytes: of the columns that are kept.
        found: columns that were asked for and kept.
        read: columns that were asked for and read from a file.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.bytes = self.found = self.read = 0
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._starts: dict[Hashable, NDArray[np.int64]] = {}
        self._columns: OrderedDict[tuple[Hashable, int, str], pa.Array] = OrderedDict()

    def take(
        self,
        partition: Hashable,
        path: Callable[[], Path],
        rows: Sequence[int] | NDArray[np.int64],
        columns: Sequence[str],
    ) -> pa.Table:
        """Return columns of some rows of a partition, in the order given.

        Args:
            partition: what it is called here.
            path: returns its file; called where something has to be read.
            rows: their numbers.
            columns: their names.

        Raises:
            CorruptFileError: the partition has no such row or column.
        """
        starts = self._starts_of(partition, path)
        wanted = np.asarray(rows, np.int64)
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < starts[-1]:
            raise CorruptFileError(
                f"{path()}: has {starts[-1]} rows, but an index names row {wanted.max()}; build the index again"
            )
        group = np.searchsorted(starts, wanted, side="right") - 1
        # Of no rows, there are the columns nevertheless.
        groups = np.unique(group).tolist() or [0]
        places = [np.flatnonzero(group == number) for number in groups]
        parts = [
            batch.take(to_column(wanted[own] - starts[number], pa.int64()))
            for batch, number, own in zip(self._batches(partition, path, groups, columns), groups, places, strict=True)
        ]
        table = pa.Table.from_batches(parts)
        return table if len(parts) == 1 else table.take(to_column(np.argsort(np.concatenate(places)), pa.int64()))

    def clear(self) -> None:
        """Keep nothing of what was read."""
        with self._lock:
            self._starts.clear()
            self._columns.clear()
            self.bytes = 0

    def _starts_of(self, partition: Hashable, path: Callable[[], Path]) -> NDArray[np.int64]:
        starts = self._starts.get(partition)
        if starts is None:
            starts = self._starts[partition] = parquet.group_starts(path())
        return starts

    def _batches(
        self, partition: Hashable, path: Callable[[], Path], groups: Sequence[int], columns: Sequence[str]
    ) -> list[pa.RecordBatch]:
        """Return columns of row groups."""
        known: dict[tuple[int, str], pa.Array] = {}
        with self._lock:
            for key in ((number, name) for number in groups for name in columns):
                column = self._columns.get((partition, *key))
                if column is not None:
                    self._columns.move_to_end((partition, *key))
                    known[key] = column
        missing = [number for number in groups if any((number, name) not in known for name in columns)]
        absent = [name for name in columns if any((number, name) not in known for number in missing)]
        read: dict[tuple[int, str], pa.Array] = {}
        if missing:
            file = path()
            for number, table in zip(missing, parquet.read_groups(file, missing, columns=absent), strict=True):
                if lacking := set(absent).difference(table.column_names):
                    raise CorruptFileError(f"{file}: has no column {min(lacking)!r}; {START_OVER}")
                read |= {(number, name): table[name].combine_chunks() for name in absent}
        self._keep(partition, read, found=len(groups) * len(columns) - len(read))
        known |= read
        return [
            pa.RecordBatch.from_arrays([known[number, name] for name in columns], list(columns)) for number in groups
        ]

    def _keep(self, partition: Hashable, read: dict[tuple[int, str], pa.Array], *, found: int) -> None:
        with self._lock:
            self.found += found
            self.read += len(read)
            for key, column in read.items():
                former = self._columns.pop((partition, *key), None)
                self._columns[partition, *key] = column
                self.bytes += column.nbytes - (former.nbytes if former is not None else 0)
            while self.bytes > self._most_bytes:
                self.bytes -= self._columns.popitem(last=False)[1].nbytes
