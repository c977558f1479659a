"""DuckDB as builds use it: in bounded memory, with files of its own for the rest."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb

_MEMORY = "2GB"
"""Of DuckDB; what is larger goes to files."""


@contextmanager
def bounded_sql(scratch: Path, *, threads: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open DuckDB, which spills into a folder; the caller removes it."""
    import duckdb

    connection = duckdb.connect(":memory:")
    try:
        connection.execute("SET memory_limit = ?", [_MEMORY])
        connection.execute("SET threads = ?", [threads])
        connection.execute("SET temp_directory = ?", [str(scratch)])
        yield connection
    finally:
        connection.close()
