"""SQL over a snapshot: DuckDB views on the tables and the index catalogue, locked down."""

from __future__ import annotations

import contextlib
import threading
from bisect import bisect_right
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa

from mnemodex.retrievers.answer import Answer
from mnemodex.retrievers.base import check_where
from mnemodex.retrievers.deadline import Call, Deadline
from mnemodex.retrievers.explain import ONE_SELECT, split_explain
from mnemodex.retrievers.history import HISTORY, HISTORY_READS, history_view
from mnemodex.retrievers.sql_functions import SqlFunctions
from mnemodex.retrievers.sql_views import catalogue, corrected, dataset, empty_view
from mnemodex.retrievers.weak import weak
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.tables import SINGLE_TABLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.indexers.encoders import TextEncoder
    from mnemodex.retrievers.snapshot import Snapshot

SECONDS = 60.0
"""How long a statement or a filter may run where nothing else is said."""

_LOCK = (
    # DuckDB lets statements read and write its temporary directory, `.tmp` of the working directory; without one,
    # nothing spills.
    "SET temp_directory = ''",
    # Else `duckdb_settings()` shows where the home folder is.
    "SET secret_directory = ''",
    # A statement inside `json_execute_serialized_sql` has a connection of its own, which no interrupt reaches.
    f"SET GLOBAL max_execution_time = {int(SECONDS * 1000)}",
    "SET allowed_configs = ['max_execution_time']",
    "SET enable_external_access = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET python_enable_replacements = false",
    "SET lock_configuration = true",
)
_BATCH_ROWS = 65536
_FEW_ROWS = 1024
"""Rows of a batch where not all are wanted: DuckDB's limit of memory does not count their texts."""


class Connection:
    """A fresh in-memory DuckDB database with one view a table; it cannot read or write anything else.

    It has no tables of its own, so that nothing in it can be changed. Every call has a cursor of its own and may come
    from any thread.

    Args:
        snapshot: the snapshot that is read.
        encoder: returns the encoder of an embedding, for `embed_NAME(text)`.
        retriever: returns the retriever of an index, for `ngram_count(index, text)`.
        memory_limit: as DuckDB writes it ("4GB"), for DuckDB and for an answer; DuckDB's own default where None.
        answer_bytes: the most that an answer may have, where that is less.

    Attributes:
        memory_bytes: the memory limit.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        encoder: Callable[[str], TextEncoder],
        retriever: Callable[[str], Any],
        *,
        memory_limit: str | None = None,
        answer_bytes: int | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._connection = duckdb.connect(":memory:")
        self._shown: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._cached_ids = lru_cache(maxsize=16)(weak(self._ids_where))
        for name, table in catalogue(snapshot).items():
            self._show(name, table)
        self._functions = SqlFunctions(self._connection, snapshot.manifest, encoder, retriever)
        try:
            if memory_limit is not None:
                self._connection.execute("SET memory_limit = ?", [memory_limit])
        except duckdb.Error as error:
            msg = f"memory limit {memory_limit!r} is not a size ({_first_line(error)}); write it as 4GB"
            raise QueryError(msg) from error
        row = self._connection.execute("SELECT parse_formatted_bytes(current_setting('memory_limit'))").fetchone()
        assert row is not None  # noqa: S101 - it is one row by construction
        self.memory_bytes = int(row[0])
        self._most_bytes = min(self.memory_bytes, answer_bytes or self.memory_bytes)
        for statement in _LOCK:
            self._connection.execute(statement)

    def close(self) -> None:
        """Drop the database and its functions."""
        # A statement that was left behind holds it until it ends.
        with contextlib.suppress(duckdb.Error):
            self._connection.close()

    def query(self, query: str, *, seconds: float = SECONDS) -> Answer:
        """Run one SELECT or EXPLAIN statement to its end, and return its rows.

        Raises:
            QueryError: as `fetch`.
        """
        return Answer(self.fetch(query, seconds=seconds))

    def fetch(self, query: str, *, seconds: float) -> pa.Table:
        """Run one SELECT or EXPLAIN statement to its end, and stop it after so many seconds.

        Raises:
            QueryError: it is another statement, or several; it does not parse or bind; it fails; the time was up, or
                the answer is larger than the memory limit.
        """
        return self._fetch(query, seconds, None)[0]

    def first(self, query: str, *, seconds: float, rows: int) -> tuple[pa.Table, bool]:
        """Run a statement for its first rows: at most so many, and no more bytes than an answer may have.

        Returns:
            The rows, and whether there were more.

        Raises:
            QueryError: as `fetch`; or already the first row has more bytes.
        """
        table, more = self._fetch(query, seconds, rows)
        if more and not len(table):
            raise QueryError(f"SQL: a row has more than {self._most_bytes:,} bytes; select fewer or shorter columns")
        return table, more

    def _fetch(self, query: str, seconds: float, most: int | None) -> tuple[pa.Table, bool]:
        _check_text("the statement", query)
        deadline = Deadline(seconds)
        with self._lock:
            cursor = self._connection.cursor()
        try:
            explain, inner = split_explain(cursor, query)
            self._show_named(inner)
            # DuckDB itself refuses inside `query` all but one SELECT: what runs is what is judged. A statement's type
            # says less: that of a SELECT with COPY or INSERT in a CTE is SELECT.
            judged = f"{explain}SELECT * FROM query(?)"  # noqa: S608 - the prefix is ours
            run = partial(self._run, cursor, judged, inner, deadline, most)
            return Call(run, partial(_interrupt, cursor)).result(deadline)
        except (duckdb.Error, pa.ArrowException, OSError, ValueError, MemoryError, RuntimeError) as error:
            if isinstance(error, MemoryError) or "Out of Memory" in str(error):
                what = (str(error).splitlines() or ["out of memory"])[0]
                raise QueryError(f"SQL: {what}; narrow the statement, or raise --memory-limit") from error
            if "maximum execution time" in str(error):
                # DuckDB's own clock, which may be ahead of the thread's that waits.
                raise deadline.error() from error
            refused = "Expected a single SELECT statement" in str(error)
            raise QueryError(ONE_SELECT if refused else f"SQL: {_first_line(error)}") from error

    def ids_where(self, where: str) -> Int64s:
        """Return the ids of the chunks that a boolean expression keeps, int64, ascending; the last are cached.

        Raises:
            QueryError: it is no such expression, or takes longer than a minute.
        """
        # Refuses also what a cache cannot hold, such as the filters of other libraries.
        return self._cached_ids(check_where(where))

    def keys_where(self, where: str) -> list[str]:
        """Return the keys of the documents that a boolean expression keeps.

        Raises:
            QueryError: it is no such expression, or takes longer than a minute.
        """
        query = f"SELECT key FROM documents d WHERE (\n{check_where(where)}\n)"  # noqa: S608
        keys: list[str] = self._kept(where, query, "documents d")["key"].to_pylist()
        return keys

    def _ids_where(self, where: str) -> Int64s:
        # The lateral query gives the chunk's columns precedence over the document's, as an outer scope gives way to an
        # inner one.
        query = (
            "SELECT filtered.chunk_id FROM documents d, LATERAL "  # noqa: S608
            f"(SELECT c.chunk_id FROM chunks c WHERE c.doc_id = d.doc_id AND (\n{where}\n)) filtered"
        )
        return np.sort(self._kept(where, query, "chunks c and documents d")["chunk_id"].to_numpy())

    def _kept(self, where: str, query: str, over: str) -> pa.Table:
        """Run the query of a filter over some tables."""
        try:
            # Refuses what is more than one expression, such as one that closes the bracket around it.
            duckdb.SQLExpression(where)
            return self.fetch(query, seconds=SECONDS)
        except (QueryError, duckdb.Error) as error:
            msg = f"where {where!r} is not a boolean expression over {over}: {_first_line(error)}"
            raise QueryError(msg) from error

    def _run(
        self, cursor: duckdb.DuckDBPyConnection, judged: str, query: str, deadline: Deadline, most: int | None
    ) -> tuple[pa.Table, bool]:
        """Run a judged statement, in a thread that may be left behind, for all rows or at most so many."""
        with cursor, self._functions.within(cursor, deadline):
            cursor.execute(f"SET max_execution_time = {max(1, int(deadline.left * 1000))}")
            reader = cursor.sql(judged, params=[query]).to_arrow_reader(_BATCH_ROWS if most is None else _FEW_ROWS)
            batches: list[pa.RecordBatch] = []
            rows, size, more = 0, 0, False
            for batch in reader:
                deadline.check()
                kept = batch if most is None else _cut(batch, most - rows, self._most_bytes - size)
                rows, size = rows + len(kept), size + kept.nbytes
                if size > self._most_bytes:
                    raise QueryError(f"the answer is larger than {self._most_bytes:,} bytes; narrow it, or add LIMIT")
                batches.append(kept)
                more = len(kept) < len(batch)
                if more:
                    break
            return pa.Table.from_batches(batches, reader.schema), more

    def _show_named(self, query: str) -> None:
        """Show the tables that a statement names."""
        # Only files of tables that are named are hashed and opened. "SHOW TABLES" names none and concerns all.
        views = {key.view: None for key in SINGLE_TABLES} | self._snapshot.views
        folded = query.casefold()
        named = [view for view in views if view in folded]
        with_history = HISTORY in folded or not named
        for view in (*named, *HISTORY_READS) if HISTORY in folded else named or views:
            with self._lock:
                if view not in self._shown:
                    table = views[view]
                    there = table is not None and len(self._snapshot.manifest.tables[table].partitions)
                    rows = dataset(self._snapshot, str(table)) if there else empty_view(view)
                    self._show(view, rows, str(table) if there else None)
        with self._lock:
            if with_history and HISTORY not in self._shown:
                self._connection.execute(history_view(self._snapshot))
                self._shown[HISTORY] = None

    def _show(self, view: str, rows: Any, table: str | None = None) -> None:
        corrections = self._snapshot.corrections.rows(table) if table is not None else None
        # A view of the database, not of one connection.
        corrected(self._connection, table or view, rows, corrections).create_view(view)
        self._shown[view] = (rows, corrections)


def _interrupt(cursor: duckdb.DuckDBPyConnection) -> None:
    # One that has just ended is closed.
    with contextlib.suppress(duckdb.ConnectionException):
        cursor.interrupt()


def _check_text(name: str, text: object) -> None:
    if not isinstance(text, str):
        raise QueryError(f"{name} is a {type(text).__name__}, not a string; write it as SQL")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise QueryError(f"{name} holds a lone surrogate: {text!r}; give it as valid Unicode") from error


def _cut(batch: pa.RecordBatch, rows: int, size: int) -> pa.RecordBatch:
    """Return the first rows of a batch, at most so many, that have no more bytes."""
    count = bisect_right(range(min(rows, len(batch)) + 1), size, key=lambda rows: batch.slice(0, rows).nbytes)
    return batch.slice(0, count - 1)


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split("\n\nLINE")[0].split())
