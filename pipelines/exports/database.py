"""A snapshot as one DuckDB database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from mnemodex.pipelines.exports.target import replacing
from mnemodex.retrievers.sql_views import catalogue, corrected, dataset
from mnemodex.schemas.errors import ExportError

if TYPE_CHECKING:
    from pathlib import Path

    from mnemodex.retrievers.snapshot import Snapshot


def write_database(snapshot: Snapshot, path: Path) -> dict[str, int]:
    """Write the tables and the catalogue (files, indexes, shards, snapshots) as tables; return the rows of each.

    They have the names of the views of SQL, and the rows that readers see. DuckDB reads the tables as streams.

    Raises:
        ExportError: the file cannot be written.
    """
    with replacing(path) as unfinished:
        try:
            with duckdb.connect(str(unfinished)) as connection:
                # Tables have no order, and keeping that of the rows would hold them in memory.
                connection.execute("SET preserve_insertion_order = false")
                counts = {
                    view: _copy(
                        connection,
                        view,
                        corrected(connection, table, dataset(snapshot, table), snapshot.corrections.rows(table)),
                    )
                    for view, table in snapshot.views.items()
                    if len(snapshot.manifest.tables[table].partitions)
                }
                return counts | {view: _copy(connection, view, rows) for view, rows in catalogue(snapshot).items()}
        except duckdb.Error as error:
            what = str(error).splitlines()[0]
            raise ExportError(f"{path}: DuckDB cannot write it ({what}); check the disk and the path") from error


def _copy(connection: duckdb.DuckDBPyConnection, view: str, rows: object) -> int:
    """Write rows as a table; return how many there are."""
    connection.register("_rows", rows)
    name = view.replace('"', '""')
    copied = connection.execute(f'CREATE TABLE "{name}" AS SELECT * FROM _rows')  # noqa: S608 - a quoted name
    ((count,),) = copied.fetchall()
    connection.unregister("_rows")
    return int(count)
