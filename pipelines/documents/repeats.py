"""Documents that a source has twice: found over all partitions, and dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa

from mnemodex.pipelines.documents.read import ReadSettings
from mnemodex.pipelines.ops.base import Op
from mnemodex.pipelines.ops.sql import over_files
from mnemodex.schemas.errors import DuplicateKeyError
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.tables import DOCUMENTS, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

    from mnemodex.indexers.base import InputPartition
    from mnemodex.pipelines.ops.base import Finished
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.schemas.spec import Spec


class FindRepeats(Op):
    """Writes, for every partition that has any, the rows of documents whose key and content came before."""

    Settings: ClassVar[type[Spec]] = ReadSettings
    seconds_per_megabyte: ClassVar[float] = 0.01

    def run(self, inputs: Inputs, output: Output) -> Stats:
        """See `Op`.

        Raises:
            DuplicateKeyError: two documents have one key and different content; the message names both places.
        """
        parts = inputs.partitions(0)
        with over_files(self.work, parts) as connection:
            found = _repeats(connection, parts)
        (output.folder / "repeats.txt").write_text("\n".join([str(len(found)), *found]))
        for label, rows in found.items():
            np.save(output.folder / f"{label}.npy", np.array(rows, np.int64), allow_pickle=False)
        output.rows = sum(map(len, found.values()))
        return Stats()

    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        """Tell of the rows that are dropped."""
        count = finished.rows
        rows = f"{count} row{'' if count == 1 else 's'}"
        return [f"{rows} of the source repeat a document, key and content; each is kept once"] if count else []


class DropRepeats(Op):
    """Writes a partition without the rows that repeat a document."""

    Settings: ClassVar[type[Spec]] = ReadSettings
    seconds_per_megabyte: ClassVar[float] = 0.01

    def run(self, inputs: Inputs, output: Output) -> Stats:
        """See `Op`."""
        listed = inputs.part(1)
        rows = np.load(listed, allow_pickle=False) if listed is not None else np.zeros(0, np.int64)
        output.write(spec_of(DOCUMENTS), _without(inputs.batches(0), rows))
        return Stats()


def _without(
    batches: Iterator[pa.RecordBatch], rows: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> Iterator[pa.RecordBatch]:
    start = 0
    for batch in batches:
        keep = ~np.isin(np.arange(start, start + batch.num_rows), rows)
        start += batch.num_rows
        yield batch.filter(pa.array(keep))


def _repeats(connection: duckdb.DuckDBPyConnection, parts: Sequence[InputPartition]) -> dict[str, list[int]]:
    """Return the rows to drop, by partition label: all but the first of equal documents."""
    connection.execute(
        "CREATE TEMP TABLE repeated AS SELECT key, content_hash, source, line, partition, row FROM rows "
        "WHERE key IN (SELECT key FROM rows GROUP BY key HAVING count(*) > 1)"
    )
    clash = connection.execute(
        "SELECT arg_min(key, (partition, row)) FROM repeated WHERE key IN "
        "(SELECT key FROM repeated GROUP BY key HAVING count(DISTINCT content_hash) > 1)"
    ).fetchone()
    if clash is not None and clash[0] is not None:
        raise _clash(connection, clash[0])
    drop: dict[str, list[int]] = {}
    for partition, row in connection.execute(
        "SELECT partition, row FROM (SELECT partition, row, row_number() OVER (PARTITION BY key ORDER BY partition, "
        "row) AS place FROM repeated) WHERE place > 1 ORDER BY partition, row"
    ).fetchall():
        drop.setdefault(parts[partition].label, []).append(row)
    return drop


def _clash(connection: duckdb.DuckDBPyConnection, key: str) -> DuplicateKeyError:
    """Name the first place of each of two contents."""
    places = connection.execute(
        "SELECT arg_min(source, (partition, row)), arg_min(line, (partition, row)) FROM repeated WHERE key = ? "
        "GROUP BY content_hash ORDER BY min((partition, row)) LIMIT 2",
        [key],
    ).fetchall()
    first, second = (f"{source} line {line}" for source, line in places)
    return DuplicateKeyError(
        f"two documents have the key {key!r} and different content: {first} and {second}; make the keys unique, or map "
        "another field with `source.fields.key`"
    )
