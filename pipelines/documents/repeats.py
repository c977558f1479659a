"""Documents that a source has twice: found over all partitions, and dropped."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from typing_extensions import override

from mnemodex.pipelines.documents.read import ReadSettings, count_rows
from mnemodex.pipelines.ops.base import Finished, Op
from mnemodex.pipelines.ops.sql import over_files
from mnemodex.schemas.errors import DuplicateKeyError
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.tables import DOCUMENTS, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output


class FindRepeats(Op):
    """Writes, for every partition that has any, the rows of documents whose key and content came before."""

    Settings = ReadSettings
    seconds_per_megabyte = 0.01

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        parts = inputs.partitions(0)
        repeats = defaultdict[str, list[int]](list)
        with over_files(self.work, parts) as connection:
            for partition, row in _find_repeats(connection):
                repeats[parts[partition].label].append(row)
        (output.folder / "repeats.txt").write_text("\n".join([str(len(repeats)), *repeats]))
        for label, rows in repeats.items():
            np.save(output.folder / f"{label}.npy", np.array(rows, np.int64), allow_pickle=False)
        output.rows = sum(map(len, repeats.values()))
        return Stats()

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        rows = count_rows(finished.rows)
        return [f"{rows} of the source repeat a document, key and content; each is kept once"] if finished.rows else []


class DropRepeats(Op):
    """Writes a partition without the rows that repeat a document."""

    Settings = ReadSettings
    seconds_per_megabyte = 0.01

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        path = inputs.part(1)
        rows = np.load(path, allow_pickle=False) if path is not None else np.zeros(0, np.int64)
        output.write(spec_of(DOCUMENTS), _drop(inputs.batches(0), rows))
        return Stats()


def _drop(batches: Iterator[pa.RecordBatch], rows: Int64s) -> Iterator[pa.RecordBatch]:
    start = 0
    for batch in batches:
        keep = ~np.isin(np.arange(start, start + batch.num_rows), rows)
        start += batch.num_rows
        yield batch.filter(pa.array(keep))


def _find_repeats(connection: duckdb.DuckDBPyConnection) -> list[tuple[int, int]]:
    """Return partition and row of all but the first of equal documents, in their order."""
    connection.execute(
        "CREATE TEMP TABLE repeated AS SELECT key, content_hash, source, line, partition, row FROM rows "
        "WHERE key IN (SELECT key FROM rows GROUP BY key HAVING count(*) > 1)"
    )
    clash = connection.execute(
        "SELECT arg_min(key, (partition, row)) FROM repeated WHERE key IN "
        "(SELECT key FROM repeated GROUP BY key HAVING count(DISTINCT content_hash) > 1)"
    ).fetchone()
    if clash is not None and clash[0] is not None:
        rows = connection.execute(
            "SELECT arg_min(source, (partition, row)), arg_min(line, (partition, row)) FROM repeated WHERE key = ? "
            "GROUP BY content_hash ORDER BY min((partition, row)) LIMIT 2",
            clash,
        ).fetchall()
        first, second = (f"{source} line {line}" for source, line in rows)
        raise DuplicateKeyError(
            f"two documents have the key {clash[0]!r} and different content: {first} and {second}; make the keys "
            "unique, or map another field with `source.fields.key`"
        )
    return connection.execute(
        "SELECT partition, row FROM (SELECT partition, row, row_number() OVER (PARTITION BY key ORDER BY partition, "
        "row) AS place FROM repeated) WHERE place > 1 ORDER BY partition, row"
    ).fetchall()
