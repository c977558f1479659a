"""DuckDB with bounded memory."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from mnemodex.pipelines.ops.base import Work

_MEMORY = "2GB"
"""Of one connection; what is larger goes to files in an attempt's folder."""


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
        work.store.files.remove(f"work/{scratch.name}")
