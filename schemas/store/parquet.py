"""Table partitions as Parquet files: how they are written and read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mnemodex.schemas.errors import START_OVER, CorruptFileError, reason
from mnemodex.schemas.store.columns import numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mnemodex.schemas.tables import TableSpec

_Rows = TypeVar("_Rows", pa.Table, pa.RecordBatch)


def write(path: Path, table: TableSpec, batches: Iterable[pa.RecordBatch]) -> int:
    """Write a partition as a stream of row groups, zstd and with page checksums; returns the rows written.

    Row groups are filled up to `table.row_group_rows`, so memory is bounded by one of them and the largest batch.
    """
    vectors = [field.name for field in table.schema if pa.types.is_fixed_size_list(field.type)]
    floats = {f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in vectors}
    # Keys of half precision hardly shrink, and compressing them would take ten times as long as writing them.
    packed = {field.name for field in table.schema if pa.types.is_fixed_size_binary(field.type)}
    others = [name for name in table.schema.names if name not in packed]
    rows = 0
    pending: list[pa.RecordBatch] = []
    with pq.ParquetWriter(
        path,
        table.schema,
        compression={name: "none" if name in packed else "zstd" for name in table.schema.names} if packed else "zstd",
        write_page_checksum=True,
        use_dictionary=others if packed else not vectors,
        column_encoding=floats or None,
    ) as writer:
        for batch in batches:
            pending.append(batch)
            rows += batch.num_rows
            if sum(part.num_rows for part in pending) >= table.row_group_rows:
                writer.write_table(pa.Table.from_batches(pending, table.schema), table.row_group_rows)
                pending = []
        if pending or not rows:
            writer.write_table(pa.Table.from_batches(pending, table.schema), table.row_group_rows)
    return rows


def count(path: Path) -> int:
    """Return the rows of a partition as its footer says."""
    try:
        rows: int = pq.read_metadata(path).num_rows
    except pa.ArrowException as error:
        raise CorruptFileError(f"{path}: is no Parquet file ({error}); {START_OVER}") from error
    return rows


def read_batches(path: Path, *, columns: Sequence[str] | None = None, rows: int = 2048) -> Iterator[pa.RecordBatch]:
    """Read a partition as a stream of record batches, page checksums verified."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        names = list(columns) if columns else None
        for batch in file.iter_batches(batch_size=rows, columns=names, use_threads=False):
            yield _only(batch, columns)


def read(path: Path, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a whole partition, page checksums verified.

    Raises:
        CorruptFileError: it is no Parquet file, or a page is not as it was written.
        FileNotFoundError: it is missing.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return _only(file.read(columns=list(columns) if columns else None), columns)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise CorruptFileError(f"{path}: is no Parquet file ({reason(error)}); {START_OVER}") from error


def _only(rows: _Rows, columns: Sequence[str] | None) -> _Rows:
    """Return rows without columns that were not asked for: to Parquet, `text.length` is a part of `text`."""
    return rows.select([name for name in rows.schema.names if name in columns]) if columns else rows


def group_starts(path: Path) -> NDArray[np.int64]:
    """Return the first row of each row group of a partition and the number of rows, int64 of shape (groups + 1,)."""
    about = pq.read_metadata(path)
    return np.cumsum([0, *(about.row_group(number).num_rows for number in range(about.num_row_groups))])


def read_groups(path: Path, groups: Sequence[int], *, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Read row groups of a partition, page checksums verified."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for number in groups:
            # For so little, handing columns to threads takes as long as reading them.
            yield _only(file.read_row_group(number, columns=list(columns), use_threads=False), columns)


def column(path: Path, name: str) -> NDArray[Any]:
    """Read one column of a whole partition as an array, page checksums verified."""
    return numbers(read(path, columns=[name])[name])
