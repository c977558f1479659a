"""Work of models on single chunks: one row for each of them, taken over from former builds and from a former try."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from typing_extensions import override

from mnemodex.pipelines.ops.base import Op
from mnemodex.pipelines.qa.generators.base import Passage
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers, to_batch, to_column
from mnemodex.schemas.tables import TableKey, spec_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.ops.checkpoint import Checkpoint
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output

_WINDOW = 64
"""Chunks that a model is given at once, and that a killed worker loses."""
CHUNK_COLUMNS = ("chunk_id", "title", "text")
_SPENT = "spent"
"""A column of checkpoints only: what a window took, as JSON in its first row."""


class ChunkOp(Op):
    """Computes one row for each chunk of a partition that is chosen; the first input are the chunks.

    What decides a row is its chunk and the step's identity alone, so that rows of the current snapshot are taken over
    wherever the chunk is now.

    Attributes:
        table: the result; its first column is `chunk_id`.
    """

    table: ClassVar[TableKey]

    def choose(self, inputs: Inputs, chunk_ids: Int64s) -> Int64s:
        """Return which chunks of the partition get a row: their places, ascending; all by default."""
        return np.arange(len(chunk_ids))

    def compute(self, passages: Sequence[Passage], places: Int64s) -> list[Any]:
        """Return the columns but the first, of chunks with their places among the chosen ones."""
        raise NotImplementedError

    def usable(self, rows: pa.Table) -> pa.Table:
        """Return the rows of the snapshot, or of a try that was stopped, that are taken over; all by default."""
        return rows

    def counts(self) -> dict[str, int]:
        """Return counts of all that was computed so far."""
        return {}

    def finish(self, rows: pa.Table, inputs: Inputs, output: Output, spent: Counter[str]) -> Stats:
        """Return the stats of a partition, after its rows are written."""
        return Stats()

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        path, spec = inputs.partition(0).files["parquet"], spec_of(self.table)
        all_ids = parquet.column(path, "chunk_id")
        chosen = self.choose(inputs, all_ids)
        chunk_ids = all_ids[chosen]
        former = pa.Table.from_batches([], spec.schema)
        if inputs.former:
            former = self.usable(inputs.former.take(chunk_ids, spec.schema))
        kept, spent = _resume(output.checkpoint, spec.schema)
        kept = self.usable(kept)
        reused = np.isin(chunk_ids, numbers(former["chunk_id"]))
        missing = np.flatnonzero(~(reused | np.isin(chunk_ids, numbers(kept["chunk_id"]))))
        texts = parquet.read(path, columns=CHUNK_COLUMNS).take(to_column(chosen[missing], pa.int64()))
        rows = [former, kept]
        for start in range(0, len(missing), _WINDOW):
            places, window = missing[start : start + _WINDOW], texts.slice(start, _WINDOW)
            passages = list(map(Passage, window["title"].to_pylist(), window["text"].to_pylist()))
            before = Counter(self.counts())
            batch = to_batch([chunk_ids[places], *self.compute(passages, places)], spec.schema)
            took = Counter(self.counts()) - before
            spent.update(took)
            output.checkpoint.add(_with_spent(batch, took))
            rows.append(pa.Table.from_batches([batch]))
            output.progress(len(chunk_ids) - len(missing) + start + len(places))
        in_order = _in_order(pa.concat_tables(rows), chunk_ids)
        output.write(spec, in_order)
        return self.finish(in_order, inputs, output, spent).model_copy(update={"reused": int(reused.sum())})


def _in_order(rows: pa.Table, chunk_ids: Int64s) -> pa.Table:
    """Return the row of each chunk; of a chunk that two tries kept, the first one."""
    unique, first = np.unique(numbers(rows["chunk_id"]), return_index=True)
    return rows.take(to_column(first[np.searchsorted(unique, chunk_ids)], pa.int64())).combine_chunks()


def _with_spent(batch: pa.RecordBatch, took: Counter[str]) -> pa.RecordBatch:
    """Return rows for a checkpoint; the first one has the counts of all."""
    notes = [json.dumps(took), *["{}"] * (len(batch) - 1)]
    return batch.append_column(_SPENT, to_column(notes, pa.string()))


def _resume(checkpoint: Checkpoint, schema: pa.Schema) -> tuple[pa.Table, Counter[str]]:
    """Return the rows of a former try, and the counts they took."""
    spent = Counter[str]()
    batches = []
    for batch in checkpoint.load():
        for note in batch[_SPENT].to_pylist():
            spent.update(json.loads(note))
        batches.append(batch.select(schema.names))
    return pa.Table.from_batches(batches, schema), spent
