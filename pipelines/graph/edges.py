"""The edges of the graph: one row for each pair of nodes and kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from mnemodex.pipelines.graph.names import id_range
from mnemodex.pipelines.ops.base import Op
from mnemodex.pipelines.ops.sql import ask
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.tables import EDGES, spec_of

if TYPE_CHECKING:
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output

_EDGES = """
WITH joined AS (
    SELECT least(subject_id, object_id) AS source_id, greatest(subject_id, object_id) AS target_id, 'fact' AS kind,
        count(*)::FLOAT AS weight
    FROM triples WHERE subject_id <> object_id GROUP BY ALL
    UNION ALL SELECT entity_id, chunk_id, 'mention', 1 FROM mentions
    {synonyms}
)
SELECT source_id, target_id, kind, weight FROM joined WHERE source_id BETWEEN ? AND ?
ORDER BY source_id, target_id, kind
"""

_SYNONYMS = "UNION ALL SELECT source_id, target_id, 'synonym', weight FROM synonyms WHERE kept"


class EdgesOp(Op):
    """Gathers the edges whose sources' ids are in one range; the inputs are triples, mentions and perhaps synonyms."""

    seconds_per_megabyte = 1.0

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        names = ("triples", "mentions", "synonyms")[: len(inputs.unit.inputs)]
        tables = {name: inputs.partitions(number) for number, name in enumerate(names)}
        query = _EDGES.replace("{synonyms}", _SYNONYMS if "synonyms" in tables else "")
        spec = spec_of(EDGES)
        edges = ask(self.work, query, id_range(inputs.unit), tables)
        output.write(spec, (batch.cast(spec.schema) for batch in edges))
        return Stats()
