"""DuckDB over checked partitions, with bounded memory: what a worker asks to make one table of others."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

    from mnemodex.indexers.base import InputPartition
    from mnemodex.pipelines.ops.base import Work

_MEMORY = "2GB"
"""Of one connection; what is larger goes to files in an attempt's folder."""

_ROWS = 65_536


@contextmanager
def connected(work: Work) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection that spills into a folder of its own."""
    import duckdb

    scratch = work.store.files.attempt()
    settings: dict[str, Any] = {"memory_limit": _MEMORY, "threads": work.cpus, "temp_directory": str(scratch)}
    connection = duckdb.connect(":memory:", config=settings)
    try:
        yield connection
    finally:
        connection.close()
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def over_files(work: Work, parts: Sequence[InputPartition]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection with the view `rows`: the columns of partitions, with `partition` and `row`, their numbers.

    It reads by DuckDB's own Parquet reader, which is for ids and keys only: it does not look at page checksums.
    """
    with connected(work) as connection:
        paths = [str(part.files["parquet"]) for part in parts]
        connection.execute("CREATE TEMP TABLE places (path VARCHAR, partition BIGINT)")
        connection.executemany("INSERT INTO places VALUES (?, ?)", [[path, n] for n, path in enumerate(paths)])
        listed = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
        connection.execute(
            "CREATE TEMP VIEW rows AS "  # noqa: S608 - our own paths, quoted
            "SELECT r.* EXCLUDE (filename, file_row_number), places.partition, r.file_row_number AS row "
            f"FROM read_parquet([{listed}], filename = true, file_row_number = true) r "
            "JOIN places ON places.path = r.filename"
        )
        yield connection
