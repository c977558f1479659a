"""The rows of a snapshot's tables as a stream, without those of deleted documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mnemodex.indexers.arrays import are_among
from mnemodex.retrievers.sql_views import corrected, dataset, left_out_rows
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers, to_column
from mnemodex.schemas.tables import ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mnemodex.retrievers.snapshot import Snapshot

Json: TypeAlias = dict[str, Any]
"""An object of a JSON file, as another program reads it."""


def table_schema(snapshot: Snapshot, table: str) -> pa.Schema:
    """Return the columns of a table, as its first partition has them."""
    part = snapshot.manifest.tables[table].partitions[0]
    return pq.read_schema(snapshot.path(table, part.label)).remove_metadata()


def read_table(snapshot: Snapshot, table: str) -> Iterator[Iterable[pa.RecordBatch]]:
    """Yield the rows that readers see, a stream for each partition; one stream of all where they are corrected."""
    corrections = snapshot.corrections.rows(table)
    if corrections is None and (table != ERRORS.label or not len(snapshot.tombstones.doc_id)):
        yield from (read_rows(snapshot, table, part.label) for part in snapshot.manifest.tables[table].partitions)
        return
    with duckdb.connect(":memory:") as connection:
        yield corrected(connection, table, dataset(snapshot, table), corrections).to_arrow_reader(2048)


def read_rows(
    snapshot: Snapshot, table: str, label: str, *, columns: Sequence[str] | None = None, rows: int = 2048
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one partition that readers see.

    The column by which rows are left out has to be among the columns, see `left_out_rows`.
    """
    for batch in parquet.read_batches(snapshot.path(table, label), columns=columns, rows=rows):
        left_out = left_out_rows(snapshot, table, batch.schema.names)
        if left_out is not None:
            seen = np.flatnonzero(~are_among(numbers(batch[left_out[0]]), left_out[1]))
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
