"""Documents that a source has twice: found over all partitions, and dropped."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from typing_extensions import override

from mnemodex.pipelines.documents.read import ReadSettings, count_rows
from mnemodex.pipelines.ops.base import Finished, Op
from mnemodex.schemas.errors import DuplicateKeyError
from mnemodex.schemas.ids import hash_strings
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import spelling, to_column
from mnemodex.schemas.tables import DOCUMENTS, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import duckdb

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.messages import Unit
    from mnemodex.pipelines.ops.base import Work
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output


_MEMORY = "2GB"
"""Of DuckDB; what is larger goes to files in an attempt's folder."""


class FindRepeats(Op):
    """Writes, for every partition that has any, the rows of documents whose key and content came before.

    A unit looks at the keys of one range of hashes.
    """

    version: ClassVar[int] = 2
    Settings = ReadSettings
    seconds_per_megabyte = 0.01

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        parts = list(inputs.pages(0))
        repeats = defaultdict[str, list[int]](list)
        suspects = _suspects(parts, inputs.unit)
        if len(suspects):
            with _connected(self.work) as connection:
                connection.register("rows", _rows(parts, suspects))
                for partition, row in _find_repeats(connection):
                    repeats[parts[partition][0]].append(row)
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
        rows = [np.load(path, allow_pickle=False) for path in inputs.parts(1)]
        output.write(spec_of(DOCUMENTS), _drop(inputs.batches(0), np.concatenate([np.zeros(0, np.int64), *rows])))
        return Stats()


def _drop(batches: Iterator[pa.RecordBatch], rows: Int64s) -> Iterator[pa.RecordBatch]:
    start = 0
    for batch in batches:
        keep = np.setdiff1d(np.arange(batch.num_rows), rows - start)
        start += batch.num_rows
        yield batch.take(to_column(keep, pa.int64()))


@contextmanager
def _connected(work: Work) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open DuckDB, which spills into a folder of its own."""
    import duckdb

    scratch = work.store.files.attempt()
    settings: dict[str, Any] = {"memory_limit": _MEMORY, "threads": work.cpus, "temp_directory": str(scratch)}
    connection = duckdb.connect(":memory:", config=settings)
    try:
        yield connection
    finally:
        connection.close()
        work.store.files.remove(f"work/{scratch.name}")


def _suspects(parts: Sequence[tuple[str, Path]], unit: Unit) -> Int64s:
    """Return partition and row of all documents whose key has the hash of another's, int64 of shape (rows, 2)."""
    hashes, places = [np.zeros(0, np.uint64)], [np.zeros((0, 2), np.int64)]
    for number, (_, path) in enumerate(parts):
        found = hash_strings(*spelling(parquet.read(path, columns=["key"])["key"].combine_chunks()))
        rows = np.flatnonzero(found % np.uint64(unit.buckets) == unit.bucket)
        hashes.append(found[rows])
        places.append(np.stack([np.full(len(rows), number), rows], axis=1))
    joined = np.concatenate(hashes)
    order = np.argsort(joined)
    equal = np.flatnonzero(joined[order[1:]] == joined[order[:-1]])
    return np.concatenate(places)[order[np.union1d(equal, equal + 1)]]


def _rows(parts: Sequence[tuple[str, Path]], suspects: Int64s) -> pa.Table:
    """Return key, content and place of some documents, and their numbers as `partition` and `row`."""
    tables = []
    for number in np.unique(suspects[:, 0]).tolist():
        rows = np.sort(suspects[suspects[:, 0] == number, 1])
        table = parquet.read(parts[number][1], columns=["key", "content_hash", "source", "line"]).take(rows)
        tables.append(table.append_column("partition", [np.full(len(rows), number)]).append_column("row", [rows]))
    return pa.concat_tables(tables)


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
