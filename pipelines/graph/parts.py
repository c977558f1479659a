"""The facts, names, ends and edges of one partition of triples, sorted by id: of them, ranges of ids are gathered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import override

from mnemodex.indexers.arrays import are_among, begins, read_arrow, write_arrow
from mnemodex.indexers.graph.names import normalize
from mnemodex.pipelines.ops.base import Op
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import TableKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output

FACT_PARTS = TableKey("fact_parts", draft=True)
NAME_PARTS = TableKey("name_parts", draft=True)
END_PARTS = TableKey("end_parts", draft=True)
EDGE_PARTS = TableKey("edge_parts", draft=True)
PARTS = (FACT_PARTS, NAME_PARTS, END_PARTS, EDGE_PARTS)

KINDS = ("fact", "mention", "synonym")
"""Kinds of edges, whose numbers are in the parts."""

_TRIPLES = ("chunk_id", "subject", "predicate", "object", "subject_id", "object_id", "fact_id")


class PartsOp(Op):
    """Sorts what one partition of triples and its mentions say, each fact, name, end of a fact and edge once.

    The files are Arrow's own format, `data.arrow`, so that a range of ids is mapped and read without the rest.
    """

    seconds_per_megabyte = 1.0

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        triples = parquet.read(inputs.partition(0).files["parquet"], columns=_TRIPLES).combine_chunks()
        mentions = parquet.read(inputs.partition(1).files["parquet"], columns=["entity_id", "chunk_id", "name"])
        facts = _facts(triples)
        output.rows = len(facts)
        tables = (facts, _names(mentions), _ends(facts), _edges(triples, mentions))
        for key, table in zip(PARTS, tables, strict=True):
            write_arrow(output.folder_of(key) / "data.arrow", table)
        return Stats()


def count_known(inputs: Inputs, key: TableKey) -> int | None:
    """Return how many of the parts the current snapshot's result of the unit is made of, where others follow them.

    None where it is made of other parts or of another range of ids, so that nothing is taken over.

    Args:
        inputs: of the unit; the parts are the first one.
        key: of these parts.
    """
    parts, former = inputs.places(0), inputs.former_of(key.label).places
    same = len(inputs.former.places) == inputs.unit.buckets and parts[: len(former)] == former
    return len(former) if same and len(former) < len(parts) else None


def gather(inputs: Inputs, number: int, *, first: int = 0) -> tuple[pa.Table, Int64s]:
    """Return the rows of the unit's range of ids of all parts of an input, and the number of the part of each.

    The rows are in the order of the parts, which are sorted by their first column; of parts before the first one, none.
    """
    return _concatenate([rows for rows, _ in _ranges(inputs, number, first)], first)


def gather_ids(inputs: Inputs, number: int, wanted: Int64s) -> tuple[pa.Table, Int64s]:
    """Return the rows of some ids of the unit's range, given ascending, and the number of the part of each."""
    ranges = _ranges(inputs, number)
    return _concatenate([rows.take(pa.array(np.flatnonzero(are_among(ids, wanted)))) for rows, ids in ranges])


def _ranges(inputs: Inputs, number: int, first: int = 0) -> Iterator[tuple[pa.Table, Int64s]]:
    """Yield the rows of the unit's range of ids of each part of an input, and their ids."""
    lowest, highest = inputs.unit.id_range
    for part in inputs.partitions(number, first=first):
        table = read_arrow(part.files["arrow"])
        ids = table.column(0).to_numpy()
        start, stop = int(np.searchsorted(ids, lowest)), int(np.searchsorted(ids, highest, side="right"))
        yield table.slice(start, stop - start), ids[start:stop]


def _concatenate(rows: list[pa.Table], first: int = 0) -> tuple[pa.Table, Int64s]:
    return pa.concat_tables(rows).combine_chunks(), np.repeat(first + np.arange(len(rows)), list(map(len, rows)))


def _facts(triples: pa.Table) -> pa.Table:
    """Return the different facts in normal form, and how many chunks state each."""
    fact, chunk = triples["fact_id"].to_numpy(), triples["chunk_id"].to_numpy()
    order = np.lexsort((chunk, fact))
    pairs = order[begins(fact[order], chunk[order])]
    starts = begins(fact[pairs])
    rows = triples.take(pairs[starts])
    names = {name: _normalized(rows[name]) for name in ("subject", "predicate", "object")}
    ids = {name: rows[name] for name in ("fact_id", "subject_id", "object_id")}
    return pa.table({**ids, **names, "chunks": np.diff(np.append(starts, len(pairs)))})


def _names(mentions: pa.Table) -> pa.Table:
    """Return the names of entities as they are written, and in how many chunks."""
    counted = mentions.group_by(["entity_id", "name"], use_threads=False).aggregate([([], "count_all")])
    rows = counted.sort_by([("entity_id", "ascending"), ("name", "ascending")])
    names = rows["name"].combine_chunks()
    return pa.table(
        {
            "entity_id": rows["entity_id"],
            "name": names,
            "normalized": _normalized(names),
            "chunks": rows["count_all"],
        }
    )


def _ends(facts: pa.Table) -> pa.Table:
    """Return the facts of each entity."""
    entity = np.concatenate([facts["subject_id"].to_numpy(), facts["object_id"].to_numpy()])
    fact = np.tile(facts["fact_id"].to_numpy(), 2)
    order = np.lexsort((fact, entity))
    return pa.table({"entity_id": entity[order], "fact_id": fact[order]})


def _edges(triples: pa.Table, mentions: pa.Table) -> pa.Table:
    """Return the edges between entities, by how many triples join them, and those of mentions."""
    ends = np.sort([triples["subject_id"].to_numpy(), triples["object_id"].to_numpy()], axis=0)
    order = np.lexsort(ends[::-1])
    source, target = ends[:, order]
    starts = begins(source, target)
    triple_counts = np.diff(np.append(starts, len(source)))
    source = np.concatenate([source[starts], mentions["entity_id"].to_numpy()])
    kinds = np.repeat(np.arange(2, dtype=np.int8), [len(starts), len(mentions)])
    weights = np.concatenate([triple_counts, np.ones(len(mentions))]).astype(np.float32)
    target = np.concatenate([target[starts], mentions["chunk_id"].to_numpy()])
    order = np.lexsort((kinds, target, source))
    columns = {"source_id": source, "target_id": target, "kind": kinds, "weight": weights}
    return pa.table({name: column[order] for name, column in columns.items()})


def _normalized(names: pa.ChunkedArray | pa.StringArray) -> pa.StringArray:
    """Return the normal forms of names."""
    combined = names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names
    encoded = pc.dictionary_encode(combined)
    forms = pa.array(map(normalize, encoded.dictionary.to_pylist()), pa.string())
    return forms.take(encoded.indices)
