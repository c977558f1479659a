"""The rows of a snapshot's tables as a stream, without those that tombstones leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers, to_column

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.retrievers.snapshot import Snapshot


def table_schema(snapshot: Snapshot, table: str) -> pa.Schema:
    """Return the columns of a table, as its first partition has them."""
    part = snapshot.manifest.tables[table].partitions[0]
    return pq.read_schema(snapshot.path(table, part.label)).remove_metadata()


def read_rows(
    snapshot: Snapshot, table: str, label: str, *, columns: Sequence[str] | None = None, rows: int = 2048
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one partition that readers see.

    The column by which tombstones name rows has to be among the columns.
    """
    for batch in parquet.read_batches(snapshot.path(table, label), columns=columns, rows=rows):
        column = snapshot.tombstones.column(batch.schema.names)
        if column is not None:
            seen = np.flatnonzero(~snapshot.tombstones.mask(column, numbers(batch[column])))
            batch = batch.take(to_column(seen, pa.int64())) if len(seen) < len(batch) else batch  # noqa: PLW2901
        if batch.num_rows:
            yield batch


def need_table(snapshot: Snapshot, table: str) -> None:
    """Refuse a snapshot without a table, or without partitions of it, by a `QueryError`."""
    entry = snapshot.manifest.tables.get(table)
    if entry is None or not len(entry.partitions):
        raise QueryError(
            f"{snapshot.store.root}: snapshot {snapshot.name} has no {table}; build the memory with a source"
        )
