"""The edges of the graph: one row for each pair of nodes and kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import override

from mnemodex.indexers.arrays import begins
from mnemodex.pipelines.graph.parts import EDGE_PARTS, KINDS, count_known, gather
from mnemodex.pipelines.ops.base import Op
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import EDGES, SYNONYMS, spec_of

if TYPE_CHECKING:
    from mnemodex.indexers.graph.edge_lists import EdgeList
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output


class EdgesOp(Op):
    """Gathers the edges whose sources' ids are in one range; the inputs are parts of edges and perhaps synonyms.

    Where the current snapshot has the edges of the first of these parts, those of the others are added to them.
    """

    seconds_per_megabyte = 0.2

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        from mnemodex.indexers.graph.edge_lists import merge

        former = inputs.former.partition(inputs.unit.bucket)
        known = count_known(inputs, EDGE_PARTS) if former is not None else None
        edges = _summed(gather(inputs, 0, first=known or 0)[0])
        if known is not None and former is not None:
            edges = merge(_listed(parquet.read(former).filter(pc.field("kind") != "synonym")), edges)
        if len(inputs.unit.inputs) > 1:
            edges = merge(edges, _synonyms(inputs))
        names = pa.DictionaryArray.from_arrays(pa.array(edges.kind), list(KINDS)).cast(pa.string())
        spec = spec_of(EDGES)
        output.write(spec, pa.table([edges.source, edges.target, names, edges.weight], schema=spec.schema))
        return Stats()


def _summed(rows: pa.Table) -> EdgeList:
    """Return the edges of several parts, each with the sum of its weights."""
    from mnemodex.indexers.graph.edge_lists import EdgeList

    source, target, kind, weight = (rows[name].to_numpy() for name in ("source_id", "target_id", "kind", "weight"))
    order = np.lexsort((kind, target, source))
    starts = begins(source[order], target[order], kind[order])
    first = order[starts]
    weights = np.add.reduceat(weight[order], starts) if len(starts) else weight
    return EdgeList(source[first], target[first], kind[first], weights)


def _synonyms(inputs: Inputs) -> EdgeList:
    """Return the kept synonyms in the unit's range."""
    first, last = inputs.unit.id_range
    parts = [spec_of(SYNONYMS).schema.empty_table()]
    for part in inputs.partitions(1):
        rows = parquet.read(part.files["parquet"])
        ids = rows["source_id"].to_numpy()
        start, stop = np.searchsorted(ids, first), np.searchsorted(ids, last, side="right")
        parts.append(rows.slice(start, stop - start).filter(pc.field("kept")))
    kept = pa.concat_tables(parts)
    return _listed(kept.append_column("kind", pa.repeat("synonym", len(kept))))


def _listed(rows: pa.Table) -> EdgeList:
    """Return rows with the columns of edges as a list."""
    from mnemodex.indexers.graph.edge_lists import EdgeList

    source, target, weight = (rows[name].to_numpy() for name in ("source_id", "target_id", "weight"))
    kinds = pc.index_in(rows["kind"], value_set=pa.array(KINDS)).to_numpy()
    return EdgeList(source, target, kinds.astype(np.int8), weight)
