"""DuckDB over checked partitions, with bounded memory: what a worker asks to make one table of others."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import TYPE_CHECKING, Any

from mnemodex.schemas.manifest import Artifact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

    from mnemodex.schemas.store.store import Store

_MEMORY = "2GB"
"""Of one query; what is larger goes to files in an attempt's folder."""

_ROWS = 65_536


def paths(store: Store, artifacts: Sequence[Any], ending: str = ".parquet") -> list[Path]:
    """The files of artifacts, which travel as JSON, checked."""
    return [store.files.check(Artifact.model_validate(item).file(ending)) for item in artifacts]


def ask(
    store: Store, query: str, parameters: Sequence[Any], tables: dict[str, list[Any]], *, threads: int
) -> Iterator[pa.RecordBatch]:
    """The rows of a query as a stream of record batches.

    Args:
        store: the memory.
        query: the statement.
        parameters: for its question marks.
        tables: names in the query, and the artifacts of each; one without artifacts is not there.
        threads: of DuckDB.
    """
    import duckdb
    import pyarrow.dataset as ds

    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    form = ds.ParquetFileFormat(default_fragment_scan_options=options)
    scratch = store.files.attempt()
    settings: dict[str, Any] = {"memory_limit": _MEMORY, "threads": threads, "temp_directory": str(scratch)}
    try:
        with closing(duckdb.connect(":memory:", config=settings)) as connection:
            for name, artifacts in tables.items():
                if artifacts:
                    files = [str(path) for path in paths(store, artifacts)]
                    connection.register(name, ds.dataset(files, format=form))
            reader: pa.RecordBatchReader = connection.sql(query, params=list(parameters)).to_arrow_reader(_ROWS)
            yield from reader
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
