"""Facts and entities of all partitions: each once, in ranges of their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from typing_extensions import override

from mnemodex.indexers.graph.names import normalize
from mnemodex.pipelines.ops.base import Op
from mnemodex.pipelines.ops.sql import ask
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.tables import ENTITIES, FACTS, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.messages import Unit
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output

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


def id_range(unit: Unit) -> tuple[int, int]:
    """Return the first and last id of a unit's range of ids, which are 63-bit numbers."""
    width = (1 << 63) // unit.buckets
    return unit.bucket * width, (unit.bucket + 1) * width - 1


class NamesOp(Op):
    """Gathers the facts and the entities of one range of ids; the inputs are triples and mentions."""

    seconds_per_megabyte = 1.0

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        triples, mentions = inputs.partitions(0), inputs.partitions(1)
        bounds = id_range(inputs.unit)
        facts = ask(self.work, _FACTS, bounds, {"triples": triples})
        output.write(spec_of(FACTS), _normalize(facts, spec_of(FACTS).schema, "subject", "predicate", "object"))
        entities = ask(self.work, _ENTITIES, bounds * 2, {"triples": triples, "mentions": mentions})
        output.write(spec_of(ENTITIES), _normalize(entities, spec_of(ENTITIES).schema, "normalized"), key=ENTITIES)
        return Stats()


def _normalize(batches: Iterator[pa.RecordBatch], schema: pa.Schema, *names: str) -> Iterator[pa.RecordBatch]:
    """Yield batches in the columns of a schema, some of them in the normal form of names."""
    for batch in batches:
        columns = {name: batch["name" if name == "normalized" else name] for name in schema.names}
        columns |= {name: pa.array(map(normalize, columns[name].to_pylist()), pa.string()) for name in names}
        yield pa.record_batch(list(columns.values()), schema=schema)
