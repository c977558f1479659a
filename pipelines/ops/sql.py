"""DuckDB over a folder of the memory's own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from mnemodex.schemas.store.bounded_sql import bounded_sql

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from mnemodex.schemas.store.store import Store


@contextmanager
def connected(store: Store, *, threads: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open DuckDB, which spills into the folder of an attempt."""
    scratch = store.files.attempt()
    try:
        with bounded_sql(scratch, threads=threads) as connection:
            yield connection
    finally:
        store.files.delete(f"work/{scratch.name}")
