"""DuckDB as builds use it: in bounded memory, with files of its own for the rest."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from mnemodex.schemas.store.store import Store

_MEMORY = "2GB"
"""Of DuckDB; what is larger goes to files in an attempt's folder."""


@contextmanager
def connected(store: Store, *, threads: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open DuckDB, which spills into a folder of its own."""
    import duckdb

    scratch = store.files.attempt()
    settings: dict[str, Any] = {"memory_limit": _MEMORY, "threads": threads, "temp_directory": str(scratch)}
    connection = duckdb.connect(":memory:", config=settings)
    try:
        yield connection
    finally:
        connection.close()
        store.files.delete(f"work/{scratch.name}")
