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

    from numpy.typing import NDArray

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
        snapshot: what is looked into.
        encoder: gives the encoder of an embedding, for `embed_NAME(text)`.
        retriever: gives the retriever of an index, for `ngram_count(index, text)`.
        memory_limit: as DuckDB writes it ("4GB"); DuckDB's own default where None.

    Attributes:
        ids_where: the ids of the chunks that a boolean expression keeps, int64, ascending; the last answers are kept.
            Safe to call from several threads, unlike `query` and `fetch`.
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
        self._register_catalogue()
        self._register_functions(encoder)
        self._register_counts(retriever)
        if memory_limit is not None:
            self._limit(memory_limit)
        for statement in _LOCK:
            self._connection.execute(statement)

    def _limit(self, memory_limit: str) -> None:
        try:
            self._connection.execute("SET memory_limit = ?", [memory_limit])
        except duckdb.Error as error:
            msg = f"memory limit {memory_limit!r} is none ({_first_line(error)}); write it as 4GB"
            raise QueryError(msg) from error

    def close(self) -> None:
        """Drop the database and its functions."""
        self._connection.close()

    def query(self, query: str) -> Relation:
        """A relation for one SELECT or EXPLAIN statement; it runs when its rows are asked for.

        Raises:
            QueryError: another or several statements, or one that does not parse or bind.
        """
        self._check(query)
        try:
            relation = self._connection.sql(query)
        except duckdb.Error as error:
            raise _explain(error) from error
        return relation

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
            raise _explain(error) from error
        finally:
            timer.cancel()

    def _ids_where(self, where: str) -> NDArray[np.int64]:
        # The lateral query gives the chunk's columns precedence over the document's, as an outer scope gives way to an
        # inner one.
        query = (
            "SELECT kept.chunk_id FROM documents d, LATERAL "  # noqa: S608
            f"(SELECT c.chunk_id FROM chunks c WHERE c.doc_id = d.doc_id AND (\n{where}\n)) kept"
        )
        try:
            # Refuses what is more than one expression, such as one that closes the bracket it stands in.
            duckdb.SQLExpression(where)
            with self._lock:
                ids = self.query(query).to_arrow_table()["chunk_id"].to_numpy()
        except (QueryError, duckdb.Error) as error:
            msg = f"where {where!r} is not a boolean expression over chunks c and documents d: {_first_line(error)}"
            raise QueryError(msg) from error
        return np.sort(ids)

    def _check(self, query: str) -> None:
        kinds = self._kinds(query)
        if kinds == [duckdb.StatementType.EXPLAIN]:
            # EXPLAIN ANALYZE runs what it explains, so that too has to be a SELECT.
            kinds = self._kinds(_EXPLAIN.sub("", query, count=1))
        if kinds != [duckdb.StatementType.SELECT]:
            msg = "exactly one SELECT statement, or the EXPLAIN of one, can be asked"
            raise QueryError(msg)
        self._register_tables(query)

    def _kinds(self, query: str) -> list[duckdb.StatementType]:
        try:
            return [statement.type for statement in self._connection.extract_statements(query)]
        except duckdb.Error as error:
            raise _explain(error) from error

    def _register_tables(self, query: str) -> None:
        """Register the tables that a statement names, so that only these files are hashed and opened."""
        folded = query.casefold()
        named = [view for view in self._snapshot.views if view in folded]
        # A question about the catalogue ("SHOW TABLES") names none and concerns all.
        for view in named or self._snapshot.views:
            if view not in self._registered:
                self._connection.register(view, _dataset(self._snapshot, self._snapshot.views[view]))
                self._registered.add(view)

    def _register_catalogue(self) -> None:
        for name, table in _catalogue(self._snapshot).items():
            self._connection.register(name, table)

    def _register_functions(self, encoder: Callable[[str], TextEncoder]) -> None:
        models = self._snapshot.manifest.encoders
        for number, (name, model) in enumerate(models.items()):
            function = _embed(encoder, name, model.dimension)
            names = [f"embed_{name}", *(["embed"] if number == 0 else [])]
            for sql_name in names:
                self._connection.create_function(
                    sql_name,
                    function,
                    [duckdb.sqltypes.VARCHAR],
                    duckdb.list_type(duckdb.sqltypes.FLOAT),
                    type=PythonUDFType.ARROW,
                )

    def _register_counts(self, retriever: Callable[[str], Any]) -> None:
        indexes = [index.name for index in self._snapshot.manifest.indexes.values() if index.type == "ngram"]
        if indexes:
            text, whole = duckdb.sqltypes.VARCHAR, duckdb.sqltypes.BIGINT
            self._connection.create_function(
                "ngram_count", _ngram_count(retriever, indexes), [text, text], whole, type=PythonUDFType.ARROW
            )


def _ngram_count(retriever: Callable[[str], Any], indexes: list[str]) -> Callable[[Any, Any], pa.Array]:
    def ngram_count(names: Any, texts: Any) -> pa.Array:
        table = pa.table({"name": names, "text": texts})
        asked = table.drop_null().group_by(["name", "text"]).aggregate([])
        counts = np.zeros(asked.num_rows, np.int64)
        name = np.array(asked["name"].to_pylist(), dtype=object)
        for index in set(name.tolist()):
            if index not in indexes:
                msg = f"no n-gram index {index!r}; there are: {', '.join(indexes)}"
                raise QueryError(msg)
            here = np.flatnonzero(name == index)
            counts[here] = retriever(index).count(asked["text"].take(pa.array(here)).to_pylist())
        numbered = table.append_column("row", pa.array(np.arange(table.num_rows)))
        joined = numbered.join(asked.append_column("count", pa.array(counts)), ["name", "text"])
        return joined.sort_by("row")["count"].combine_chunks()

    return ngram_count


def _embed(encoder: Callable[[str], TextEncoder], name: str, dimension: int) -> Callable[[Any], pa.Array]:
    @lru_cache(maxsize=1024)
    def vector(text: str) -> NDArray[np.float32]:
        found: NDArray[np.float32] = encoder(name).encode_queries([text])[0]
        return found

    def embed(texts: Any) -> pa.Array:
        values = texts.to_pylist()
        unique = {text: vector(text) for text in set(values) if text is not None}
        none = np.zeros(0, np.float32)
        arrays = [unique.get(text, none) for text in values]
        offsets = np.arange(0, (len(values) + 1) * dimension, dimension, dtype=np.int32)
        return pa.ListArray.from_arrays(offsets, np.concatenate([*arrays, none]))

    return embed


def _dataset(snapshot: Snapshot, table: str) -> Any:
    """The table as an Arrow dataset over checked files; page checksums are verified again as pages are read."""
    import pyarrow.dataset as ds

    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    paths = [str(path) for path in snapshot.paths(table)]
    return ds.dataset(paths, format=ds.ParquetFileFormat(default_fragment_scan_options=options))


def _catalogue(snapshot: Snapshot) -> dict[str, pa.Table]:
    """The views `files`, `indexes`, `shards` and `snapshots`."""
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
        (m.name, m.parent, m.created, sum(t.rows for n, t in m.tables.items() if n == "chunks"), m.recipe_hash)
        for m in snapshot.store.history(manifest)
    ]
    text, whole, real = pa.string(), pa.int64(), pa.float64()
    return {
        "files": _rows(files, table_name=text, partition=text, rows=whole, bytes=whole, sha256=text, path=text),
        "indexes": _rows(indexes, name=text, type=text, settings=text, rows=whole, bytes=whole, recall=real),
        "shards": _rows(shards, index_name=text, shard=text, rows=whole, bytes=whole),
        "snapshots": _rows(snapshots, name=text, parent=text, created=text, chunks=whole, recipe_hash=text),
    }


def _rows(listed: list[tuple[Any, ...]], /, **columns: pa.DataType) -> pa.Table:
    return pa.table(
        {name: pa.array([row[place] for row in listed], dtype) for place, (name, dtype) in enumerate(columns.items())}
    )


def _explain(error: Exception) -> QueryError:
    return QueryError(f"SQL: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split("\n\nLINE")[0].split())
