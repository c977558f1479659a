"""Documents that a source has twice: found over all partitions, and dropped."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from typing_extensions import override

from mnemodex.pipelines.documents.read import ReadSettings, count_rows
from mnemodex.pipelines.ops.base import Finished, Op
from mnemodex.pipelines.ops.scatter import scatter
from mnemodex.schemas.errors import DuplicateKeyError
from mnemodex.schemas.ids import hash_strings
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.metadata import documents_spec
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import spelling, to_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import duckdb

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.ops.base import Work
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output


_SUSPECTS = 1 << 19
"""Documents that are compared at once, roughly."""
_MEMORY = "2GB"
"""Of DuckDB; what is larger goes to files in an attempt's folder."""


class FindRepeats(Op):
    """Writes, for every partition that has any, the rows of documents whose key and content came before."""

    version: ClassVar[int] = 2
    Settings = ReadSettings
    seconds_per_megabyte = 0.01

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        parts = list(inputs.pages(0))
        found = [np.zeros((0, 2), np.int64)]
        keys = (_hash_keys(number, path) for number, (_, path) in enumerate(parts))
        for suspects in _joined(map(_suspects, scatter(self.work.store.files, keys, inputs.rows(0)))):
            with _connected(self.work) as connection:
                connection.register("rows", _rows(parts, suspects))
                found.append(_find_repeats(connection))
        repeats = {parts[number][0]: rows for number, rows in _by_partition(np.concatenate(found))}
        (output.folder / "repeats.txt").write_text("\n".join([str(len(repeats)), *repeats]))
        for label, rows in repeats.items():
            np.save(output.folder / f"{label}.npy", rows, allow_pickle=False)
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
    settings: ReadSettings
    seconds_per_megabyte = 0.01

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        rows = [np.load(path, allow_pickle=False) for path in inputs.parts(1)]
        kept = _drop(inputs.batches(0), np.concatenate([np.zeros(0, np.int64), *rows]))
        output.write(documents_spec(self.settings.fields), kept)
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
        work.store.files.delete(f"work/{scratch.name}")


def _hash_keys(number: int, path: Path) -> Int64s:
    """Return the hash of each key of a partition, the partition's number and the row, int64 of shape (rows, 3)."""
    keys = parquet.read(path, columns=["key"])["key"].combine_chunks()
    hashes = hash_strings(*spelling(keys)).view(np.int64)
    return np.stack([hashes, np.full(len(hashes), number), np.arange(len(hashes))], axis=1)


def _suspects(hashed: Int64s) -> Int64s:
    """Return partition and row of all keys that have the hash of another, int64 of shape (rows, 2)."""
    order = np.argsort(hashed[:, 0])
    hashes = hashed[order, 0]
    equal = np.flatnonzero(hashes[1:] == hashes[:-1])
    return hashed[order[np.union1d(equal, equal + 1)], 1:]


def _joined(groups: Iterable[Int64s]) -> Iterator[Int64s]:
    """Join groups until they have `_SUSPECTS` rows, so that partitions are read for few of them."""
    joined: list[Int64s] = []
    for group in groups:
        joined.append(group)
        if sum(map(len, joined)) >= _SUSPECTS:
            yield np.concatenate(joined)
            joined = []
    if any(map(len, joined)):
        yield np.concatenate(joined)


def _by_partition(places: Int64s) -> Iterator[tuple[int, Int64s]]:
    """Yield each partition of places, int64 of shape (rows, 2), and its rows in ascending order."""
    partition, row = places[np.lexsort(places.T[::-1])].T
    starts = np.flatnonzero(np.diff(partition, prepend=-1))
    yield from zip(partition[starts].tolist(), np.split(row, starts[1:]), strict=True) if len(starts) else ()


def _rows(parts: Sequence[tuple[str, Path]], suspects: Int64s) -> pa.Table:
    """Return key, content and place of some documents, and their numbers as `partition` and `row`."""
    tables = []
    for number, rows in _by_partition(suspects):
        table = parquet.read(parts[number][1], columns=["key", "content_hash", "source", "line"]).take(rows)
        tables.append(table.append_column("partition", [np.full(len(rows), number)]).append_column("row", [rows]))
    return pa.concat_tables(tables)


def _find_repeats(connection: duckdb.DuckDBPyConnection) -> Int64s:
    """Return partition and row of all but the first of equal documents, int64 of shape (rows, 2)."""
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
    found = connection.execute(
        "SELECT partition, row FROM (SELECT partition, row, row_number() OVER (PARTITION BY key ORDER BY partition, "
        "row) AS place FROM repeated) WHERE place > 1"
    ).fetchnumpy()
    return np.stack([np.asarray(found[name], np.int64) for name in ("partition", "row")], axis=1)
