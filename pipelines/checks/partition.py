"""One partition that is checked, and the rows of other tables that it refers to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mnemodex.schemas.store import parquet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.indexers.arrays import Array
    from mnemodex.schemas.manifest import Artifact, Manifest, TableEntry
    from mnemodex.schemas.store.store import Store


@dataclass(frozen=True)
class CheckedPartition:
    """A partition `part` of a table, in a snapshot of a memory."""

    store: Store
    manifest: Manifest
    table: TableEntry
    part: Artifact

    @property
    def salt(self) -> str:
        """The recipe's `id_salt`."""
        return str(self.manifest.recipe.get("id_salt", ""))

    @cached_property
    def rows(self) -> pa.Table:
        """All of its rows."""
        return self._read(self.part, None)

    def tuples(self, *columns: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows as tuples of some columns."""
        return zip(*(self.rows[name].to_pylist() for name in columns), strict=True)

    def matrix(self) -> Array:
        """Return the array of its `.npy` file."""
        path = self.store.files.unchecked(self.part.file(".npy"))
        matrix: Array = np.load(path, mmap_mode="r", allow_pickle=False)
        return matrix

    def parent(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the rows of another table that the partition was made of: its partition of the same label.

        A partition that was cut into pieces has the labels `LABEL-NUMBER`; of a table without such a partition all rows
        are returned.
        """
        parts = self.manifest.tables[table].partitions
        part = parts.find(self.part.label) or parts.find(self.part.label.rpartition("-")[0])
        return pa.concat_tables([self._read(one, columns) for one in ([part] if part else parts)])

    def columns(self, table: str, name: str) -> Iterator[pa.ChunkedArray]:
        """Yield a column of each partition of another table."""
        for part in self.manifest.tables[table].partitions:
            yield self._read(part, [name])[name]

    def problem(self, what: str) -> str:
        """Return a problem as one sentence with its place and the remedy."""
        return f"{self.store.root}: {self.table.name} partition {self.part.label}: {what}; build again"

    def _read(self, part: Artifact, columns: Sequence[str] | None) -> pa.Table:
        return parquet.read(self.store.files.unchecked(part.file(".parquet")), columns=columns)


def check_parents(partition: CheckedPartition) -> Iterator[str]:
    """Yield columns that hold an id of no row of the table that they refer to."""
    for column, parent in partition.table.parents.items():
        entry = partition.manifest.tables.get(parent)
        if entry is None or entry.id_column is None:
            yield partition.problem(f"its {column}s refer to {parent}, which is no table of the memory")
            continue
        ids = partition.rows[column].drop_null().to_numpy()
        if not len(ids):
            continue
        missing = ids[~np.isin(ids, partition.parent(parent, [entry.id_column])[entry.id_column].to_numpy())]
        if len(missing):
            yield partition.problem(f"{column} {missing[0]} is not in {parent} ({len(missing)} rows)")
