"""Facts and entities of all partitions: each once, in ranges of their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from mnemodex.indexers.graph.names import normalize
from mnemodex.pipelines.graph.sql import ask
from mnemodex.pipelines.jobs import write_partition
from mnemodex.pipelines.resources import Resources
from mnemodex.schemas.tables import ENTITIES, FACTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.jobs import Unit
    from mnemodex.schemas.manifest import Artifact
    from mnemodex.schemas.store.store import Store
    from mnemodex.schemas.tables import Table

_FACTS = """
SELECT fact_id, min(subject_id) AS subject_id, min(object_id) AS object_id, min(subject) AS subject,
    min(predicate) AS predicate, min("object") AS "object", count(DISTINCT chunk_id) AS chunks
FROM triples WHERE fact_id BETWEEN ? AND ? GROUP BY fact_id ORDER BY fact_id
"""

_ENTITIES = """
WITH names AS (
    SELECT entity_id, name, count(*) AS chunks FROM mentions WHERE entity_id BETWEEN ? AND ? GROUP BY entity_id, name
), stated AS (
    SELECT entity_id, count(DISTINCT fact_id) AS facts
    FROM (SELECT subject_id AS entity_id, fact_id FROM triples UNION ALL SELECT object_id, fact_id FROM triples)
    WHERE entity_id BETWEEN ? AND ? GROUP BY entity_id
)
SELECT entity_id, first(name ORDER BY names.chunks DESC, name) AS name, sum(names.chunks)::BIGINT AS chunks,
    coalesce(max(facts), 0) AS facts
FROM names LEFT JOIN stated USING (entity_id) GROUP BY entity_id ORDER BY entity_id
"""


def id_range(bucket: int, buckets: int) -> tuple[int, int]:
    """The first and last id of one of so many ranges of ids, which are 63-bit numbers."""
    width = (1 << 63) // buckets
    return bucket * width, (bucket + 1) * width - 1


class NamesJob:
    """Gathers the facts and the entities whose ids lie in one range.

    A unit's payload: `triples` and `mentions` (artifacts), `bucket`, `buckets`. Both tables are published with the
    unit's label and fingerprint.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(threads=True)

    def __init__(self, store: Store, settings: dict[str, Any]) -> None:
        self._store = store

    def setup(self, cpus: int) -> None:
        """See `Job.setup`."""
        self._cpus = cpus

    def run(self, unit: Unit) -> list[Artifact]:
        """See `Job.run`."""
        tables = {name: unit.payload[name] for name in ("triples", "mentions")}
        first, last = id_range(unit.payload["bucket"], unit.payload["buckets"])
        facts = ask(self._store, _FACTS, [first, last], {"triples": tables["triples"]}, threads=self._cpus)
        entities = ask(self._store, _ENTITIES, [first, last] * 2, tables, threads=self._cpus)
        return [
            self._publish(unit, FACTS, _facts(facts)),
            self._publish(unit, ENTITIES, _entities(entities)),
        ]

    def _publish(self, unit: Unit, table: Table, batches: Iterator[pa.RecordBatch]) -> Artifact:
        attempt = self._store.files.attempt()
        rows = write_partition(attempt, table, batches)
        return self._store.publish(attempt, f"tables/{table.name}", unit.label, unit.fingerprint, rows=rows)


def _facts(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Facts in the normal form of their names."""
    for batch in batches:
        columns = {name: batch[name] for name in batch.schema.names}
        for name in ("subject", "predicate", "object"):
            columns[name] = pa.array(map(normalize, columns[name].to_pylist()), pa.string())
        yield _in_order(FACTS, columns)


def _entities(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        columns = {name: batch[name] for name in batch.schema.names}
        columns["normalized"] = pa.array(map(normalize, columns["name"].to_pylist()), pa.string())
        yield _in_order(ENTITIES, columns)


def _in_order(table: Table, columns: dict[str, pa.Array]) -> pa.RecordBatch:
    return pa.record_batch([columns[name] for name in table.schema.names], schema=table.schema)
