"""Triples become mentions: which entities are in which chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from typing_extensions import override

from mnemodex.pipelines.ops.base import Stage
from mnemodex.schemas.tables import MENTIONS, TRIPLES, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class MentionStage(Stage):
    """Gathers the entities of each chunk's triples, in the order in which they come first."""

    columns = ("chunk_id", "subject", "object", "subject_id", "object_id")
    table = spec_of(MENTIONS)

    @override
    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        # The rows of a chunk may be in two batches.
        schema = pa.schema([spec_of(TRIPLES).schema.field(name) for name in self.columns])
        yield from mentions(pa.Table.from_batches(batches, schema)).to_batches()


def mentions(triples: pa.Table) -> pa.Table:
    """Return the mentions of a partition of triples."""
    # Subjects and objects by turns: the order in which names are read.
    entities = np.stack([triples["subject_id"].to_numpy(), triples["object_id"].to_numpy()], axis=1).reshape(-1)
    chunks = np.repeat(triples["chunk_id"].to_numpy(), 2)
    order = np.lexsort((entities, chunks))
    sorted_pairs = np.stack([chunks[order], entities[order]])
    begins = np.flatnonzero(np.append(True, (np.diff(sorted_pairs, axis=1) != 0).any(axis=0))[: len(order)])
    # The sort is stable, so a pair's first element is where it is read first.
    counts = np.diff(np.append(begins, len(order)))
    first = order[begins]
    again = np.argsort(first, kind="stable")
    first, counts = first[again], counts[again]
    names = pa.concat_arrays([*triples["subject"].chunks, *triples["object"].chunks, pa.array([], pa.string())])
    columns = {
        "entity_id": entities[first],
        "chunk_id": chunks[first],
        "name": names.take(pa.array(first // 2 + (first % 2) * len(triples))),
        "triples": counts.astype(np.int32),
    }
    return pa.table(list(columns.values()), schema=spec_of(MENTIONS).schema)
