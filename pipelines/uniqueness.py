"""Checks over all partitions of a table: keys that stand twice, ids that collide.

DuckDB does them, and spills to disk where it must.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.schemas.errors import DuplicateKeyError, IdCollisionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from mnemodex.schemas.manifest import Artifact
    from mnemodex.schemas.store.store import Store


def repeated_documents(store: Store, partitions: Sequence[Artifact]) -> dict[str, list[int]]:
    """Rows to drop, by partition label: all but the first of documents that have the same key and content.

    Raises:
        DuplicateKeyError: two documents have the same key and different content; the message names both places.
    """
    connection = _connect(store)
    _view(connection, store, partitions)
    connection.execute(
        "CREATE TEMP TABLE repeated AS SELECT key, content_hash, source, line, partition, row FROM rows "
        "WHERE key IN (SELECT key FROM rows GROUP BY key HAVING count(*) > 1)"
    )
    clash = connection.execute(
        "SELECT arg_min(key, (partition, row)) FROM repeated WHERE key IN "
        "(SELECT key FROM repeated GROUP BY key HAVING count(DISTINCT content_hash) > 1)"
    ).fetchone()
    if clash is not None and clash[0] is not None:
        raise _clash(connection, clash[0])
    drop: dict[str, list[int]] = {}
    for partition, row in connection.execute(
        "SELECT partition, row FROM (SELECT partition, row, row_number() OVER (PARTITION BY key ORDER BY partition, "
        "row) AS place "
        "FROM repeated) WHERE place > 1 ORDER BY partition, row"
    ).fetchall():
        drop.setdefault(partitions[partition].label, []).append(row)
    return drop


def _clash(connection: duckdb.DuckDBPyConnection, key: str) -> DuplicateKeyError:
    """Name the first place of each of two contents."""
    places = connection.execute(
        "SELECT arg_min(source, (partition, row)), arg_min(line, (partition, row)) FROM repeated WHERE key = ? "
        "GROUP BY content_hash ORDER BY min((partition, row)) LIMIT 2",
        [key],
    ).fetchall()
    first, second = (f"{source} line {line}" for source, line in places)
    return DuplicateKeyError(
        f"two documents have the key {key!r} and different content: {first} and {second}; make the keys unique, or map "
        "another field "
        "with `source.fields.key`"
    )


def check_ids(store: Store, partitions: Sequence[Artifact], column: str) -> None:
    """Refuse a table in which two rows have the same id.

    Raises:
        IdCollisionError: names the id, and the remedy.
    """
    connection = _connect(store)
    _view(connection, store, partitions)
    found = connection.execute(f"SELECT {column} FROM rows GROUP BY 1 HAVING count(*) > 1 LIMIT 1").fetchone()  # noqa: S608 - our own column names
    if found is not None:
        msg = (
            f"two rows have the {column} {found[0]}: a hash collision; set `id_salt` in the recipe to any word and "
            "build again"
        )
        raise IdCollisionError(msg)


def _connect(store: Store) -> duckdb.DuckDBPyConnection:
    import duckdb

    return duckdb.connect(":memory:", config={"temp_directory": str(store.files.attempt()), "memory_limit": "50%"})


def _view(connection: duckdb.DuckDBPyConnection, store: Store, partitions: Sequence[Artifact]) -> None:
    """The view `rows`: the partitions' columns with the partition's number and the row's position."""
    paths = [str(store.files.check(part.file(".parquet"))) for part in partitions]
    connection.execute("CREATE TEMP TABLE places (path VARCHAR, partition BIGINT)")
    connection.executemany("INSERT INTO places VALUES (?, ?)", [[path, number] for number, path in enumerate(paths)])
    listed = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
    connection.execute(
        "CREATE TEMP VIEW rows AS "  # noqa: S608 - our own paths, quoted
        "SELECT r.* EXCLUDE (filename, file_row_number), places.partition, r.file_row_number AS row "
        f"FROM read_parquet([{listed}], filename = true, file_row_number = true) r "
        "JOIN places ON places.path = r.filename"
    )
