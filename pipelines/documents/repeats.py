"""Documents that count no longer: those that a source has twice, and those that were changed or deleted since.

They are found over all partitions, and dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import override

from mnemodex.pipelines.documents.changes import layer_of
from mnemodex.pipelines.documents.read import ReadSettings, count_rows
from mnemodex.pipelines.ops.base import Finished, Op
from mnemodex.pipelines.ops.scatter import scatter
from mnemodex.pipelines.ops.sql import connected
from mnemodex.retrievers.tombstones import read_tombstones
from mnemodex.schemas.errors import DuplicateKeyError, SourceError
from mnemodex.schemas.ids import hash_strings
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.metadata import documents_spec
from mnemodex.schemas.source_sections import NoSource
from mnemodex.schemas.spec import RunOnly
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers, spelling, to_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import duckdb

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.retrievers.tombstones import Tombstones


_SUSPECTS = 1 << 19
"""Documents that are compared at once, roughly."""


class FindSettings(ReadSettings):
    """A source, and the places of tombstones: what these name stays in the files, and readers leave it out."""

    tombstones: Annotated[tuple[str, ...], RunOnly()] = ()


class RepeatStats(Stats):
    """How many of the rows are dropped because a later change says something else of their key."""

    superseded: int = 0


class FindRepeats(Op):
    """Writes, for every partition that has any, the rows of documents that count no longer.

    These are documents whose key and content came before in the source, or in the same layer of the change log, and
    those whose key stands in a later layer, unless a tombstone names them. A deletion is such a row too.
    """

    version: ClassVar[int] = 2
    Settings = FindSettings
    settings: FindSettings
    seconds_per_megabyte = 0.01

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        parts = list(inputs.pages(0))
        none = np.zeros((0, 2), np.int64)
        repeated, superseded = [none], [none, *_deletions(parts)]
        tombstones = read_tombstones(self.work.store, map(self.work.store.checked, self.settings.tombstones))
        keys = (_hash_keys(number, path) for number, (_, path) in enumerate(parts))
        for suspects in _joined(map(_suspects, scatter(self.work.store.files, keys, inputs.rows(0)))):
            with connected(self.work.store, threads=self.work.cpus) as connection:
                connection.register("rows", _rows(parts, suspects, tombstones))
                same, older = _find_repeats(connection)
            repeated.append(same)
            superseded.append(older)
        changed = np.unique(np.concatenate(superseded), axis=0)
        places = np.unique(np.concatenate([*repeated, changed]), axis=0)
        repeats = {parts[number][0]: rows for number, rows in _by_partition(places)}
        (output.folder / "repeats.txt").write_text("\n".join([str(len(repeats)), *repeats]))
        for label, rows in repeats.items():
            np.save(output.folder / f"{label}.npy", rows, allow_pickle=False)
        output.rows = len(places)
        return RepeatStats(superseded=len(changed))

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        rows = finished.rows - finished.total(RepeatStats).superseded
        told = f"{count_rows(rows)} of the source repeat a document, key and content; each is kept once"
        return [told] if rows else []

    @override
    @classmethod
    def note(cls, finished: Finished) -> str:
        rows = finished.total(RepeatStats).superseded
        return f"{count_rows(rows)} superseded or deleted by later changes" if rows else ""


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

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        settings: Any = finished.step.settings
        if not finished.rows and not isinstance(settings.source, NoSource):
            raise SourceError("no document is left: all of them are deleted; remove the memory's folder instead")
        return []


def _drop(batches: Iterator[pa.RecordBatch], rows: Int64s) -> Iterator[pa.RecordBatch]:
    start = 0
    for batch in batches:
        keep = np.setdiff1d(np.arange(batch.num_rows), rows - start)
        start += batch.num_rows
        yield batch.take(to_column(keep, pa.int64()))


def _hash_keys(number: int, path: Path) -> Int64s:
    """Return the hash of each key of a partition, the partition's number and the row, int64 of shape (rows, 3)."""
    keys = parquet.read(path, columns=["key"])["key"].combine_chunks()
    hashes = hash_strings(*spelling(keys)).view(np.int64)
    return np.stack([hashes, np.full(len(hashes), number), np.arange(len(hashes))], axis=1)


def _deletions(parts: Sequence[tuple[str, Path]]) -> Iterator[Int64s]:
    """Yield partition and row of the deletions of each partition of the change log, int64 of shape (rows, 2)."""
    for number, (label, path) in enumerate(parts):
        if layer_of(label):
            contents = parquet.read(path, columns=["content_hash"])["content_hash"]
            rows = np.flatnonzero(np.asarray(pc.equal(contents, "")))
            yield np.stack([np.full(len(rows), number), rows], axis=1)


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


def _rows(parts: Sequence[tuple[str, Path]], suspects: Int64s, tombstones: Tombstones) -> pa.Table:
    """Return key, content and place of some documents, and as `partition`, `row` and `layer` their numbers.

    Whether tombstones name them is the column `masked`.
    """
    tables = []
    for number, rows in _by_partition(suspects):
        table = parquet.read(parts[number][1], columns=["doc_id", "key", "content_hash", "source", "line"]).take(rows)
        layers = np.full(len(rows), layer_of(parts[number][0]))
        masked = tombstones.mask("doc_id", numbers(table["doc_id"]))
        places = (("partition", np.full(len(rows), number)), ("row", rows), ("layer", layers), ("masked", masked))
        for name, values in places:
            table = table.append_column(name, [values])
        tables.append(table)
    return pa.concat_tables(tables)


def _find_repeats(connection: duckdb.DuckDBPyConnection) -> tuple[Int64s, Int64s]:
    """Return partition and row of repeated documents, and of those of an older layer, int64 of shape (rows, 2)."""
    connection.execute(
        "CREATE TEMP TABLE repeated AS SELECT key, content_hash, source, line, partition, row, layer, "
        "max(layer) OVER (PARTITION BY key) AS last, "
        "row_number() OVER (PARTITION BY key, layer ORDER BY partition, row) AS place, "
        # Of a document that is left out, the files have the row that was added last.
        "masked AND 1 = row_number() OVER (PARTITION BY key, doc_id ORDER BY layer DESC, partition, row) AS stays "
        "FROM rows "
        "WHERE key IN (SELECT key FROM rows GROUP BY key HAVING count(*) > 1)"
    )
    clash = connection.execute(
        "SELECT arg_min(key, (partition, row)) FROM repeated WHERE layer = last AND key IN "
        "(SELECT key FROM repeated WHERE layer = last GROUP BY key HAVING count(DISTINCT content_hash) > 1)"
    ).fetchone()
    if clash is not None and clash[0] is not None:
        rows = connection.execute(
            "SELECT arg_min(source, (partition, row)), arg_min(line, (partition, row)) FROM repeated "
            "WHERE layer = last AND key = ? GROUP BY content_hash ORDER BY min((partition, row)) LIMIT 2",
            clash,
        ).fetchall()
        first, second = (f"{source} line {line}" for source, line in rows)
        raise DuplicateKeyError(
            f"two documents have the key {clash[0]!r} and different content: {first} and {second}; make the keys "
            "unique, or map another field with `source.fields.key`"
        )
    return _places(connection, "layer = last AND place > 1"), _places(connection, "layer < last AND NOT stays")


def _places(connection: duckdb.DuckDBPyConnection, condition: str) -> Int64s:
    """Return partition and row of those of `repeated` that a condition keeps, int64 of shape (rows, 2)."""
    found = connection.execute(f"SELECT partition, row FROM repeated WHERE {condition}").fetchnumpy()  # noqa: S608
    return np.stack([np.asarray(found[name], np.int64) for name in ("partition", "row")], axis=1)
