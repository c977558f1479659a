"""Facts and entities of all partitions: each once, in ranges of their ids; and their texts by age, for vectors."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from typing_extensions import override

from mnemodex.indexers.arrays import are_among, begins, read_arrow, write_arrow
from mnemodex.pipelines.graph.parts import FACT_PARTS, count_known, gather, gather_ids
from mnemodex.pipelines.ops.base import Op
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.store import parquet
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
        known = count_known(inputs, FACT_PARTS)
        former = _Former.of(inputs) if known is not None else None
        first = known if known is not None and former is not None else 0
        self._write_facts(inputs, output, former, first, segments)
        self._write_entities(inputs, output, former, first, segments)
        return Stats()

    def _write_facts(
        self, inputs: Inputs, output: Output, former: _Former | None, first: int, segments: Int64s
    ) -> None:
        rows, part = gather(inputs, 0, first=first)
        if former is not None:
            # What is known is counted as one part more, before all others.
            before = parquet.read(former.facts).cast(rows.schema)
            rows, part = pa.concat_tables([before, rows]).combine_chunks(), np.append(np.full(len(before), -1), part)
        facts, part = _facts(rows, part)
        output.write(spec_of(FACTS), facts)
        is_new = part >= 0
        texts = facts.select(["fact_id", "subject", "predicate", "object"]).filter(pa.array(is_new))
        folder = former.fact_texts if former is not None else None
        write_texts(output.folder_of(FACT_TEXTS), texts, segments[part[is_new]], folder)

    def _write_entities(
        self, inputs: Inputs, output: Output, former: _Former | None, first: int, segments: Int64s
    ) -> None:
        if former is None:
            entities, part = _entities(*gather(inputs, 1), gather(inputs, 2)[0])
            is_new, folder, known = np.ones(len(entities), np.bool_), None, entities.slice(0, 0)
        else:
            # A name may be the one in most chunks by now that parts from before have.
            touched = np.unique(gather(inputs, 1, first=first)[0]["entity_id"].to_numpy())
            entities, part = _entities(*gather_ids(inputs, 1, touched), gather_ids(inputs, 2, touched)[0])
            known, folder = parquet.read(former.entities).cast(entities.schema), former.name_texts
            is_new = ~are_among(touched, known["entity_id"].to_numpy())
            known = known.filter(pa.array(~are_among(known["entity_id"].to_numpy(), touched)))
        texts = entities.select(["entity_id", "normalized"]).filter(pa.array(is_new))
        write_texts(output.folder_of(NAME_TEXTS), texts, segments[part[is_new]], folder)
        output.write(spec_of(ENTITIES), by_id(known, entities), key=ENTITIES)


class _Former(NamedTuple):
    """What the current snapshot has of a range of ids: files of facts and entities, and folders of their texts."""

    facts: Path
    entities: Path
    fact_texts: Path
    name_texts: Path

    @classmethod
    def of(cls, inputs: Inputs) -> _Former | None:
        """Return it; None where some of it is damaged."""
        number = inputs.unit.bucket
        facts, entities = inputs.former.partition(number), inputs.former_of(ENTITIES.label).partition(number)
        texts, names = (inputs.former_of(key.label).folder(number) for key in (FACT_TEXTS, NAME_TEXTS))
        if facts is None or entities is None or texts is None or names is None:
            return None
        return cls(facts, entities, texts, names)


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


def write_texts(folder: Path, texts: pa.Table, segments: Int64s, former: Path | None = None) -> None:
    """Write the texts of each segment, by ascending id, into a file of its own.

    Where there is a former folder, its texts are there too; none of them is among those that are given.
    """
    names = {f"s{segment:05d}.arrow": segment for segment in np.union1d(segments, [0]).tolist()}
    for name, segment in names.items():
        rows = texts.filter(pa.array(segments == segment))
        if former is not None and (former / name).exists():
            rows = by_id(read_arrow(former / name), rows)
        write_arrow(folder / name, rows)
    for path in sorted(former.glob("*.arrow")) if former is not None else ():
        if path.name not in names:
            shutil.copyfile(path, folder / path.name)


def by_id(one: pa.Table, other: pa.Table) -> pa.Table:
    """Return the rows of two tables by ascending id, their first column."""
    rows = pa.concat_tables([one, other]).combine_chunks()
    return rows.take(pa.array(np.argsort(rows.column(0).to_numpy(), kind="stable")))
