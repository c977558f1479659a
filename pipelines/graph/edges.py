"""The edges of the graph: one row for each pair of nodes and kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import override

from mnemodex.indexers.arrays import begins
from mnemodex.pipelines.graph.parts import KINDS, gather
from mnemodex.pipelines.ops.base import Op
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import EDGES, SYNONYMS, spec_of

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Array
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output


class EdgesOp(Op):
    """Gathers the edges whose sources' ids are in one range; the inputs are parts of edges and perhaps synonyms."""

    seconds_per_megabyte = 0.2

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        rows, _ = gather(inputs, 0)
        columns = [rows[name].to_numpy() for name in ("source_id", "target_id", "kind", "weight")]
        if len(inputs.unit.inputs) > 1:
            columns = [np.concatenate(pair) for pair in zip(columns, _synonyms(inputs), strict=True)]
        source, target, kind, weight = columns
        order = np.lexsort((kind, target, source))
        starts = begins(source[order], target[order], kind[order])
        first = order[starts]
        weights = np.add.reduceat(weight[order], starts) if len(starts) else weight
        names = pa.DictionaryArray.from_arrays(pa.array(kind[first]), list(KINDS)).cast(pa.string())
        spec = spec_of(EDGES)
        edges = pa.table([source[first], target[first], names, weights], schema=spec.schema)
        output.write(spec, edges)
        return Stats()


def _synonyms(inputs: Inputs) -> list[Array]:
    """Return source, target, kind and weight of the kept synonyms in the unit's range."""
    first, last = inputs.unit.id_range
    parts = [spec_of(SYNONYMS).schema.empty_table()]
    for part in inputs.partitions(1):
        rows = parquet.read(part.files["parquet"])
        ids = rows["source_id"].to_numpy()
        start, stop = np.searchsorted(ids, first), np.searchsorted(ids, last, side="right")
        parts.append(rows.slice(start, stop - start).filter(pc.field("kept")))
    kept = pa.concat_tables(parts)
    source, target, weight = (kept[name].to_numpy() for name in ("source_id", "target_id", "weight"))
    return [source, target, np.full(len(source), KINDS.index("synonym"), np.int8), weight]
