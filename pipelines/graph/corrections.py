"""Corrections of the graph's tables: the rows that change when chunks are left out, which stay in the files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemodex.indexers.arrays import are_among
from mnemodex.indexers.graph.synonyms import Synonyms, strongest
from mnemodex.pipelines.ops.sql import connected
from mnemodex.retrievers.corrections import corrected_schema
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers, to_column
from mnemodex.schemas.tables import EDGES, ENTITIES, FACTS, MENTIONS, SYNONYMS, TRIPLES, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import duckdb

    from mnemodex.indexers.arrays import Bools, Int64s
    from mnemodex.schemas.manifest import Manifest
    from mnemodex.schemas.store.store import Store
    from mnemodex.schemas.tables import TableKey

    Keep = Callable[[pa.Table], Bools]
    """Returns which rows are kept."""

_FEWER = (
    "CREATE TEMP TABLE fewer_facts AS SELECT fact_id, count(DISTINCT chunk_id) AS fewer FROM gone_triples "
    "GROUP BY fact_id",
    "CREATE TEMP TABLE fewer_edges AS SELECT least(subject_id, object_id) AS source_id, "
    "greatest(subject_id, object_id) AS target_id, count(*) AS fewer FROM gone_triples GROUP BY ALL",
    "CREATE TEMP TABLE fewer_chunks AS SELECT entity_id, count(*) AS fewer FROM gone_mentions GROUP BY entity_id",
)
_NEW = (
    "CREATE TEMP TABLE new_facts AS SELECT facts.* REPLACE (chunks - fewer AS chunks) FROM facts "
    "JOIN fewer_facts USING (fact_id)",
    # A fact may have one entity for both ends.
    "CREATE TEMP TABLE gone_facts AS SELECT entity_id, count(DISTINCT fact_id) AS fewer FROM "
    "(SELECT fact_id, unnest([subject_id, object_id]) AS entity_id FROM new_facts WHERE chunks = 0) GROUP BY entity_id",
    "CREATE TEMP TABLE left_entities AS SELECT entities.* REPLACE (chunks - fewer AS chunks) FROM entities "
    "JOIN fewer_chunks USING (entity_id)",
    # Chunks with another name than the stored one are few, and all others have that.
    "CREATE TEMP TABLE names AS SELECT entity_id, name, count(*) AS times FROM other_names GROUP BY ALL",
    "INSERT INTO names SELECT entity_id, any_value(left_entities.name), any_value(chunks) - coalesce(sum(times), 0) "
    "FROM left_entities LEFT JOIN names USING (entity_id) GROUP BY entity_id",
    "CREATE TEMP TABLE new_entities AS SELECT left_entities.* REPLACE (best AS name, facts - coalesce(fewer, 0) "
    "AS facts) FROM left_entities JOIN (SELECT entity_id, first(name ORDER BY times DESC, name) AS best FROM names "
    "GROUP BY entity_id) USING (entity_id) LEFT JOIN gone_facts USING (entity_id)",
)
_ROWS = {
    FACTS: "SELECT *, chunks = 0 FROM new_facts ORDER BY fact_id",
    ENTITIES: "SELECT *, chunks = 0 FROM new_entities ORDER BY entity_id",
    SYNONYMS: "SELECT * FROM new_synonyms ORDER BY source_id, target_id",
    EDGES: "SELECT source_id, target_id, kind, weight - fewer, weight = fewer FROM edges JOIN fewer_edges "
    "USING (source_id, target_id) "
    "UNION ALL SELECT entity_id, chunk_id, 'mention', 1, true FROM gone_mentions "
    "UNION ALL SELECT source_id, target_id, 'synonym', weight, left_out FROM new_synonyms WHERE kept ORDER BY ALL",
}
"""Of each table the columns, and whether the row is left out."""


def correct_graph(
    store: Store, manifest: Manifest, chunk_ids: Int64s
) -> tuple[dict[TableKey, pa.Table], dict[str, int]]:
    """Return the rows of the graph's tables that change or go when chunks, given ascending, are left out.

    With them are the numbers of triples and mentions that go. It reads each of these tables once, and mentions twice;
    what it keeps are rows that the chunks have a part in.
    """
    with connected(store, threads=len(os.sched_getaffinity(0))) as connection:
        counts = _Corrected(store, manifest, connection).compute(chunk_ids)
        rows = {}
        for key, query in _ROWS.items():
            schema = corrected_schema(key)
            rows[key] = connection.sql(query).to_arrow_table().rename_columns(schema.names).cast(schema)
    return rows, counts


class _Corrected:
    """The queries of `correct_graph`, and the rows of tables that they are asked of."""

    def __init__(self, store: Store, manifest: Manifest, connection: duckdb.DuckDBPyConnection) -> None:
        self._store = store
        self._manifest = manifest
        self._connection = connection

    def compute(self, chunk_ids: Int64s) -> dict[str, int]:
        """Create the tables that `_ROWS` names, without chunks, given ascending; count what is left out."""

        def gone(rows: pa.Table) -> Bools:
            return are_among(numbers(rows["chunk_id"]), chunk_ids)

        self._create("gone_triples", TRIPLES, ("chunk_id", "subject_id", "object_id", "fact_id"), gone)
        self._create("gone_mentions", MENTIONS, ("entity_id", "chunk_id"), gone)
        self._execute(_FEWER)
        self._create("facts", FACTS, None, self._has("fact_id", "fewer_facts"))
        self._create("entities", ENTITIES, None, self._has("entity_id", "fewer_chunks"))
        pairs = self._connection.sql("SELECT source_id, target_id FROM fewer_edges").to_arrow_table()
        wanted = np.sort(_hash_pairs(pairs))
        self._create(
            "edges", EDGES, None, lambda rows: are_among(_hash_pairs(rows), wanted) & _is(rows["kind"], "fact")
        )
        stored = self._connection.sql("SELECT entity_id, name FROM entities ORDER BY entity_id").to_arrow_table()
        ids, names = numbers(stored["entity_id"]), stored["name"].combine_chunks()

        def has_other_name(rows: pa.Table) -> Bools:
            entities = numbers(rows["entity_id"])
            kept = np.flatnonzero(are_among(entities, ids) & ~gone(rows))
            own = rows["name"].combine_chunks().take(to_column(kept, pa.int64()))
            differ = pc.not_equal(own, names.take(to_column(np.searchsorted(ids, entities[kept]), pa.int64())))
            chosen = np.zeros(len(rows), np.bool_)
            chosen[kept[differ.to_numpy(zero_copy_only=False)]] = True
            return chosen

        self._create("other_names", MENTIONS, ("entity_id", "chunk_id", "name"), has_other_name)
        self._execute(_NEW)
        self._connection.register("new_synonyms", self._synonyms())
        return {name: len(self._connection.table(f"gone_{name}")) for name in ("triples", "mentions")}

    def _execute(self, statements: tuple[str, ...]) -> None:
        for statement in statements:
            self._connection.execute(statement)

    def _has(self, column: str, table: str) -> Keep:
        """Return what keeps rows of which a column has a value that it has in a table of the database."""
        ids = self._ids(f"SELECT DISTINCT {column} FROM {table} ORDER BY 1")  # noqa: S608
        return lambda rows: are_among(numbers(rows[column]), ids)

    def _ids(self, query: str) -> Int64s:
        return numbers(self._connection.sql(query).to_arrow_table().column(0))

    def _create(self, name: str, key: TableKey, columns: tuple[str, ...] | None, keep: Keep) -> None:
        """Create a table of those rows of a table of the memory that are kept."""
        schema = spec_of(key).schema
        schema = schema if columns is None else pa.schema([schema.field(column) for column in columns])
        rows = pa.RecordBatchReader.from_batches(schema, self._kept(key, schema, keep))
        self._connection.register("kept", rows)
        self._connection.execute(f"CREATE TEMP TABLE {name} AS SELECT * FROM kept")  # noqa: S608

    def _kept(self, key: TableKey, schema: pa.Schema, keep: Keep) -> Iterator[pa.RecordBatch]:
        entry = self._manifest.tables.get(key.label)
        for part in entry.partitions if entry is not None else ():
            # Pages are checked as they are read.
            path = self._store.files.unchecked(part.file(".parquet"))
            rows = parquet.read(path, columns=schema.names).select(schema.names).cast(schema)
            chosen = to_column(np.flatnonzero(keep(rows)), pa.int64())
            yield from rows.take(chosen).combine_chunks().to_batches()

    def _synonyms(self) -> pa.Table:
        """Return the pairs of which an end is gone, and those that become edges because an end has fewer near names."""
        schema = corrected_schema(SYNONYMS)
        gone = self._ids("SELECT entity_id FROM new_entities WHERE chunks = 0 ORDER BY entity_id")
        entry = self._manifest.tables.get(SYNONYMS.label)
        if entry is None or not len(gone):
            return schema.empty_table()
        paths = [self._store.files.unchecked(part.file(".parquet")) for part in entry.partitions]
        rows = pa.concat_tables([parquet.read(path) for path in paths]).combine_chunks()
        ends = [numbers(rows[name]) for name in ("source_id", "target_id")]
        kept = rows["kept"].to_numpy(zero_copy_only=False)
        left_out = are_among(ends[0], gone) | are_among(ends[1], gone)
        is_kept = kept.copy()
        if not kept[~left_out].all():
            live = np.flatnonzero(~left_out)
            ids, places = np.unique(np.concatenate(ends), return_inverse=True)
            left, right = places.reshape(2, -1)[:, live].astype(np.int32)
            is_kept[live] = strongest(Synonyms(left, right, numbers(rows["weight"])[live]), len(ids))
        changed = np.flatnonzero(left_out | (is_kept != kept))
        columns = [rows[name].take(to_column(changed, pa.int64())) for name in schema.names[:3]]
        return pa.table([*columns, is_kept[changed], left_out[changed]], schema=schema)


def _hash_pairs(rows: pa.Table) -> Int64s:
    """Return numbers in which few pairs of ids agree that are not the same."""
    source, target = (numbers(rows[name]) for name in ("source_id", "target_id"))
    hashed: Int64s = source * 0x1E3779B97F4A7C15 + target
    return hashed


def _is(column: pa.ChunkedArray, value: str) -> Bools:
    equal: Bools = pc.equal(column, value).to_numpy()
    return equal
