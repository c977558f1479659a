"""DuckDB over checked partitions, with bounded memory: what a worker asks to make one table of others."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

_MEMORY = "2GB"
"""Of one query; what is larger goes to files in the attempt's folder."""

_ROWS = 65_536


def stream(
    query: str, parameters: Sequence[Any], tables: dict[str, list[Path]], *, scratch: Path, threads: int
) -> Iterator[pa.RecordBatch]:
    """The rows of a query as a stream of record batches.

    Args:
        query: the statement.
        parameters: for its question marks.
        tables: names in the query, and the Parquet files of each.
        scratch: an empty folder for what does not fit into memory.
        threads: of DuckDB.
    """
    import duckdb
    import pyarrow.dataset as ds

    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    form = ds.ParquetFileFormat(default_fragment_scan_options=options)
    settings: dict[str, Any] = {"memory_limit": _MEMORY, "threads": threads, "temp_directory": str(scratch)}
    with closing(duckdb.connect(":memory:", config=settings)) as connection:
        for name, paths in ((name, paths) for name, paths in tables.items() if paths):
            connection.register(name, ds.dataset([str(path) for path in paths], format=form))
        reader: pa.RecordBatchReader = connection.sql(query, params=list(parameters)).to_arrow_reader(_ROWS)
        yield from reader
