"""Tables in Arrow's own format: files whose rows are mapped, and read by number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from pathlib import Path


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write a table as one batch, so that a row's number is its place in it."""
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def read_arrow(path: Path) -> pa.Table:
    """Map what `write_arrow` wrote; the caller has verified the file's checksum."""
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()
