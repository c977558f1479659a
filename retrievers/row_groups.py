"""Rows of a table by position, of which the row groups that were read last are kept in memory."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import to_column

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.retrievers.snapshot import Snapshot

_GROUPS = 2048
"""Row groups that are kept: of questions two million rows, some 250 MB."""

_FILES = 4096
"""Partitions of which it is kept where their row groups begin."""


class RowGroups:
    """Rows of the partitions of a table by position; may be shared by threads."""

    def __init__(self, snapshot: Snapshot, table: str, labels: Sequence[str]) -> None:
        self._snapshot = snapshot
        self._table = table
        self._labels = labels
        self._starts = lru_cache(maxsize=_FILES)(self._read_starts)
        self._group = lru_cache(maxsize=_GROUPS)(self._read_group)

    def take(self, partition: int, rows: Int64s) -> Iterator[pa.Table]:
        """Yield rows of a partition, whose numbers ascend, as tables that have them in this order."""
        starts = self._starts(partition)
        group = np.searchsorted(starts, rows, side="right") - 1
        for number in np.unique(group).tolist():
            places = rows[group == number] - starts[number]
            yield self._group(partition, number).take(to_column(places, pa.int64()))

    def empty(self) -> pa.Table:
        """Return no rows."""
        return self._group(0, 0).slice(0, 0)

    def _read_starts(self, partition: int) -> Int64s:
        return parquet.group_starts(self._path(partition))

    def _read_group(self, partition: int, number: int) -> pa.Table:
        return parquet.read_group(self._path(partition), number)

    def _path(self, partition: int) -> Path:
        return self._snapshot.path(self._table, self._labels[partition])
