"""SQL over a snapshot: DuckDB views on the tables and the index catalogue, locked down."""

from __future__ import annotations

import json
import re
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import duckdb
import numpy as np
import pyarrow as pa
from duckdb.func import PythonUDFType

from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.tables import TableKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.indexers.encoders import TextEncoder
    from mnemodex.retrievers.snapshot import Snapshot

Relation: TypeAlias = duckdb.DuckDBPyRelation

_LOCK = (
    "SET enable_external_access = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET python_enable_replacements = false",
    "SET lock_configuration = true",
)
_EXPLAIN = re.compile(r"\s*explain(\s+analyze)?(\s*\(\s*(analyze|format)\b[^()]*\))?", re.IGNORECASE)


class Connection:
    """A fresh in-memory DuckDB database with one view a table; it cannot read or write anything else.

    Args:
        snapshot: the snapshot that is read.
        encoder: returns the encoder of an embedding, for `embed_NAME(text)`.
        retriever: returns the retriever of an index, for `ngram_count(index, text)`.
        memory_limit: as DuckDB writes it ("4GB"); DuckDB's own default where None.

    Attributes:
        ids_where: returns the ids of the chunks that a boolean expression keeps, int64, ascending; the last answers are
            cached. Safe to call from several threads, unlike `query` and `fetch`.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        encoder: Callable[[str], TextEncoder],
        retriever: Callable[[str], Any],
        *,
        memory_limit: str | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._connection = duckdb.connect(":memory:")
        self._registered: set[str] = set()
        self._lock = threading.Lock()
        self.ids_where = lru_cache(maxsize=16)(self._ids_where)
        for name, table in _catalogue(snapshot).items():
            self._connection.register(name, table)
        self._register_functions(encoder, retriever)
        try:
            if memory_limit is not None:
                self._connection.execute("SET memory_limit = ?", [memory_limit])
        except duckdb.Error as error:
            msg = f"memory limit {memory_limit!r} is not a size ({_first_line(error)}); write it as 4GB"
            raise QueryError(msg) from error
        for statement in _LOCK:
            self._connection.execute(statement)

    def close(self) -> None:
        """Drop the database and its functions."""
        self._connection.close()

    def query(self, query: str) -> Relation:
        """Return a relation for one SELECT or EXPLAIN statement; it runs when its rows are read.

        Raises:
            QueryError: another or several statements, or one that does not parse or bind.
        """
        self._check(query)
        try:
            return self._connection.sql(query)
        except duckdb.Error as error:
            raise _query_error(error) from error

    def fetch(self, query: str, *, seconds: float) -> pa.Table:
        """Run one statement to its end, and stop it after so many seconds.

        Raises:
            QueryError: as `query`, or the time was up.
        """
        timer = threading.Timer(seconds, self._connection.interrupt)
        timer.start()
        try:
            return self.query(query).to_arrow_table()
        except duckdb.InterruptException as error:
            msg = f"the statement ran longer than {seconds:g} s and was stopped; narrow it, or raise --timeout"
            raise QueryError(msg) from error
        except duckdb.Error as error:
            raise _query_error(error) from error
        finally:
            timer.cancel()

    def _ids_where(self, where: str) -> Int64s:
        # The lateral query gives the chunk's columns precedence over the document's, as an outer scope gives way to an
        # inner one.
        query = (
            "SELECT filtered.chunk_id FROM documents d, LATERAL "  # noqa: S608
            f"(SELECT c.chunk_id FROM chunks c WHERE c.doc_id = d.doc_id AND (\n{where}\n)) filtered"
        )
        try:
            # Refuses what is more than one expression, such as one that closes the bracket around it.
            duckdb.SQLExpression(where)
            with self._lock:
                ids = self.query(query).to_arrow_table()["chunk_id"].to_numpy()
        except (QueryError, duckdb.Error) as error:
            msg = f"where {where!r} is not a boolean expression over chunks c and documents d: {_first_line(error)}"
            raise QueryError(msg) from error
        return np.sort(ids)

    def _check(self, query: str) -> None:
        """Refuse all but one SELECT or EXPLAIN, and register the tables that it names."""
        kinds = self._kinds(query)
        if kinds == [duckdb.StatementType.EXPLAIN]:
            # EXPLAIN ANALYZE runs what it explains, so that too has to be a SELECT.
            kinds = self._kinds(_EXPLAIN.sub("", query, count=1))
        if kinds != [duckdb.StatementType.SELECT]:
            raise QueryError("exactly one SELECT statement, or the EXPLAIN of one, can be asked")
        # Only files of tables that are named are hashed and opened. "SHOW TABLES" names none and concerns all.
        views = self._snapshot.views
        folded = query.casefold()
        for view in [view for view in views if view in folded] or views:
            if view not in self._registered:
                self._connection.register(view, _dataset(self._snapshot, views[view]))
                self._registered.add(view)

    def _kinds(self, query: str) -> list[duckdb.StatementType]:
        try:
            return [statement.type for statement in self._connection.extract_statements(query)]
        except duckdb.Error as error:
            raise _query_error(error) from error

    def _register_functions(self, encoder: Callable[[str], TextEncoder], retriever: Callable[[str], Any]) -> None:
        """Register SQL functions; DuckDB calls them with rows that have no NULL."""

        def register(name: str, function: Callable[..., pa.Array], parameters: int, result: Any) -> None:
            types: list[Any] = [duckdb.sqltypes.VARCHAR] * parameters
            self._connection.create_function(name, function, types, result, type=PythonUDFType.ARROW)

        manifest = self._snapshot.manifest
        for number, (name, model) in enumerate(manifest.encoders.items()):
            function = _embed(encoder, name, model.dimension)
            for sql_name in [f"embed_{name}", *(["embed"] if number == 0 else [])]:
                register(sql_name, function, 1, duckdb.list_type(duckdb.sqltypes.FLOAT))
        indexes = [index.name for index in manifest.indexes.values() if index.type == "ngram"]
        if indexes:
            register("ngram_count", _ngram_count(retriever, indexes), 2, duckdb.sqltypes.BIGINT)


def _ngram_count(retriever: Callable[[str], Any], indexes: list[str]) -> Callable[[Any, Any], pa.Array]:
    def ngram_count(names: Any, texts: Any) -> pa.Array:
        rows = list(zip(names.to_pylist(), texts.to_pylist(), strict=True))
        # Each text is counted once.
        counts: dict[tuple[str, str], int] = dict.fromkeys(rows, 0)
        for index in dict.fromkeys(name for name, _ in counts):
            if index not in indexes:
                raise QueryError(f"no n-gram index {index!r}; there are: {', '.join(indexes)}")
            keys = [key for key in counts if key[0] == index]
            numbers = retriever(index).count([text for _, text in keys]).tolist()
            counts.update(zip(keys, numbers, strict=True))
        return pa.array([counts[row] for row in rows], pa.int64())

    return ngram_count


def _embed(encoder: Callable[[str], TextEncoder], name: str, dimension: int) -> Callable[[Any], pa.Array]:
    @lru_cache(maxsize=1024)
    def vector(text: str) -> Any:
        return encoder(name).encode_queries([text])[0]

    def embed(texts: Any) -> pa.Array:
        values = texts.to_pylist()
        vectors = {text: vector(text) for text in set(values)}
        offsets = np.arange(0, (len(values) + 1) * dimension, dimension, dtype=np.int32)
        return pa.ListArray.from_arrays(offsets, np.concatenate([vectors[text] for text in values]))

    return embed


def _dataset(snapshot: Snapshot, table: str) -> Any:
    """Return the table as an Arrow dataset over checked files; page checksums are verified as pages are read."""
    import pyarrow.dataset as ds

    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    paths = [str(path) for path in snapshot.paths(table)]
    return ds.dataset(paths, format=ds.ParquetFileFormat(default_fragment_scan_options=options))


def _catalogue(snapshot: Snapshot) -> dict[str, pa.Table]:
    """Return the views `files`, `indexes`, `shards` and `snapshots`."""
    manifest = snapshot.manifest
    files = [
        (TableKey.parse(table.name).view, part.label, part.rows, file.bytes, file.sha256, file.path)
        for table in manifest.tables.values()
        for part in table.partitions
        for file in part.files
    ]
    indexes = [
        (i.name, i.type, json.dumps(i.settings), i.rows, i.bytes, i.recall.recall if i.recall else None)
        for i in manifest.indexes.values()
    ]
    shards = [(i.name, s.label, s.rows, s.bytes) for i in manifest.indexes.values() for s in i.shards]
    snapshots = [
        (m.name, m.parent, m.created, m.tables["chunks"].rows if "chunks" in m.tables else 0, m.recipe_hash)
        for m in snapshot.store.history(manifest)
    ]
    text, integer, real = pa.string(), pa.int64(), pa.float64()
    return {
        "files": _table(files, table_name=text, partition=text, rows=integer, bytes=integer, sha256=text, path=text),
        "indexes": _table(indexes, name=text, type=text, settings=text, rows=integer, bytes=integer, recall=real),
        "shards": _table(shards, index_name=text, shard=text, rows=integer, bytes=integer),
        "snapshots": _table(snapshots, name=text, parent=text, created=text, chunks=integer, recipe_hash=text),
    }


def _table(rows: list[tuple[Any, ...]], /, **columns: pa.DataType) -> pa.Table:
    return pa.table(
        {name: pa.array([row[i] for row in rows], type_) for i, (name, type_) in enumerate(columns.items())}
    )


def _query_error(error: Exception) -> QueryError:
    return QueryError(f"SQL: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split("\n\nLINE")[0].split())
