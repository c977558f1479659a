"""Facts and entities of all partitions: each once, in ranges of their ids; and their texts by age, for vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from typing_extensions import override

from mnemodex.indexers.arrays import begins, write_arrow
from mnemodex.pipelines.graph.parts import gather
from mnemodex.pipelines.ops.base import Op
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.tables import ENTITIES, FACT_TEXTS, FACTS, NAME_TEXTS, spec_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output

_FIRST_SEGMENT, _SMALLEST, _LARGEST = 1 << 14, 1 << 12, 1 << 17
"""Facts of the first segment; and fewest and most of a later one, an eighth of those before it in between."""


class NamesOp(Op):
    """Gathers the facts and the entities of one range of ids; the inputs are the parts of facts, names and ends.

    The texts of a segment are those that no earlier segment has: a segment is some consecutive partitions of triples,
    so that vectors stay where they are when documents are added.
    """

    seconds_per_megabyte = 0.2

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        segments = segments_of([artifact.rows for artifact in inputs.artifacts(0)])
        facts, part = _facts(*gather(inputs, 0))
        output.write(spec_of(FACTS), facts)
        texts = facts.select(["fact_id", "subject", "predicate", "object"])
        write_texts(output.folder_of(FACT_TEXTS), texts, segments[part])
        entities, part = _entities(*gather(inputs, 1), gather(inputs, 2)[0])
        output.write(spec_of(ENTITIES), entities, key=ENTITIES)
        write_texts(output.folder_of(NAME_TEXTS), entities.select(["entity_id", "normalized"]), segments[part])
        return Stats()


def segments_of(rows: Sequence[int]) -> Int64s:
    """Return the segment of each partition, by the partitions' facts; a partition more changes the last one only."""
    starts = np.cumsum([0, *rows])[:-1]
    bounds = [0, _FIRST_SEGMENT]
    while len(starts) and bounds[-1] <= starts[-1]:
        bounds.append(bounds[-1] + min(max(bounds[-1] // 8, _SMALLEST), _LARGEST))
    return np.searchsorted(bounds, starts, side="right") - 1


def _facts(rows: pa.Table, part: Int64s) -> tuple[pa.Table, Int64s]:
    """Return the different facts by ascending id, and the first part that has each."""
    ids = rows["fact_id"].to_numpy()
    # Stable, so that a fact's first row is that of the first part.
    order = np.argsort(ids, kind="stable")
    starts = begins(ids[order])
    chunks = np.add.reduceat(rows["chunks"].to_numpy()[order], starts) if len(starts) else np.zeros(0, np.int64)
    first = order[starts]
    facts = rows.take(first)
    schema = spec_of(FACTS).schema
    return facts.set_column(len(schema) - 1, "chunks", pa.array(chunks)).cast(schema), part[first]


def _entities(names: pa.Table, part: Int64s, ends: pa.Table) -> tuple[pa.Table, Int64s]:
    """Return the entities by ascending id, each with its name in most chunks, and the first part that has each."""
    rows = names.append_column("part", pa.array(part)).group_by(["entity_id", "name"], use_threads=False)
    counted = rows.aggregate([("chunks", "sum"), ("part", "min"), ("normalized", "min")])
    by = [("entity_id", "ascending"), ("chunks_sum", "descending"), ("name", "ascending")]
    counted = counted.sort_by(by).combine_chunks()
    ids = counted["entity_id"].to_numpy()
    starts = begins(ids)
    chunks, part = counted["chunks_sum"].to_numpy(), counted["part_min"].to_numpy()
    if len(starts):
        chunks, part = np.add.reduceat(chunks, starts), np.minimum.reduceat(part, starts)
    best = counted.take(starts)
    entity, fact = ends["entity_id"].to_numpy(), ends["fact_id"].to_numpy()
    order = np.lexsort((fact, entity))
    entity = entity[order][begins(entity[order], fact[order])]
    facts = np.diff(np.searchsorted(entity, np.append(ids[starts], np.iinfo(np.int64).max)))
    columns = [best["entity_id"], best["name"], best["normalized_min"], chunks, facts]
    return pa.table(columns, schema=spec_of(ENTITIES).schema), part


def write_texts(folder: Path, texts: pa.Table, segments: Int64s) -> None:
    """Write the texts of each segment, by ascending id, into a file of its own."""
    for segment in np.union1d(segments, [0]).tolist():
        write_arrow(folder / f"s{segment:05d}.arrow", texts.filter(pa.array(segments == segment)))
