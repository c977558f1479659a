"""The sequences of a memory's chunks: which chunk is before and after another one in its document or session."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from typing_extensions import override

from mnemodex.indexers.arrays import check_arrays, check_offsets, check_places, open_arrays, save_arrays
from mnemodex.indexers.base import Indexer, IndexStats
from mnemodex.indexers.rows import Rows
from mnemodex.schemas.store.bounded_sql import bounded_sql
from mnemodex.schemas.tables import DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    import duckdb

    from mnemodex.indexers.arrays import Bools, Int64s
    from mnemodex.indexers.base import InputPartition
    from mnemodex.indexers.combined_settings import ContiguitySettings
    from mnemodex.schemas.manifest import Stats
    from mnemodex.schemas.tables import TableKey

_EVERYTHING = 1 << 62
_BATCH = 1 << 17


@dataclass(frozen=True)
class Sequences:
    """The n chunks of a memory, those of a sequence after each other.

    Attributes:
        rows: of the chunks, by place.
        starts: the place at which each sequence begins, and n: int64 of shape (sequences + 1,), rising.
    """

    rows: Rows
    starts: Int64s

    def save(self, out: Path) -> None:
        """Write the rows, `starts.npy`, and `by_id.npy`: the places by ascending chunk id."""
        self.rows.save(out)
        save_arrays(out, starts=self.starts, by_id=np.argsort(self.rows.ids))

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Map what `save` wrote; a `CorruptFileError` says that the arrays do not belong together."""
        rows = Rows.open(folder)
        starts, by_id = open_arrays(folder, starts=np.int64, by_id=np.int64)
        check_arrays(len(by_id) == len(rows.ids), folder, "chunk_ids and by_id")
        check_places(by_id, len(by_id), folder, "by_id")
        check_offsets(starts, len(rows.ids), folder, "starts")
        sequences = cls(rows, starts)
        # What `cached_property` would compute.
        sequences.__dict__["by_id"] = by_id
        return sequences

    @cached_property
    def by_id(self) -> Int64s:
        """The places by ascending chunk id, int64 of shape (n,)."""
        return np.argsort(self.rows.ids)

    def without(self, left_out: Bools) -> Sequences:
        """Return the sequences without some places, bool of shape (n,); what is around them moves together."""
        kept = ~left_out
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
        rows = Rows(self.rows.ids[kept], self.rows.partition[kept], self.rows.row[kept], self.rows.labels)
        return Sequences(rows, before[self.starts])

    def places(self, ids: Int64s) -> Int64s:
        """Return the places of chunks that are there, int64 of the shape of `ids`."""
        # Reads of a mapped file: a search by bisection touches few pages.
        return self.by_id[np.searchsorted(self.rows.ids, ids, sorter=self.by_id)]

    def around(self, places: Int64s, before: int, after: int) -> Int64s:
        """Return the places around some, int64 of shape (places, before + 1 + after), -1 beyond the sequence's ends."""
        sequence = np.searchsorted(self.starts, places, side="right") - 1
        reach = places[:, None] + np.arange(-before, after + 1)
        inside = (reach >= self.starts[sequence][:, None]) & (reach < self.starts[sequence + 1][:, None])
        return np.where(inside, reach, -1)


class ContiguityStats(IndexStats):
    """The sequences of a memory.

    Attributes:
        sequences: how many there are.
        documents: how many documents have chunks.
        apart: documents without a value of some field of `within`: each is a sequence of its own.
        unordered: documents without a value of `order`: they are at the end of their sequence.
        equal: documents whose value of `order` another one of their sequence has too.
        texts: documents whose value of `order` is a text that is no number.
    """

    sequences: int
    documents: int = 0
    apart: int = 0
    unordered: int = 0
    equal: int = 0
    texts: int = 0


class ContiguityIndexer(Indexer):
    """Sorts the chunks into sequences, on disk: writes one shard, what `Sequences` saves.

    Chunks of a sequence are in the order of the field `order`, equal ones and those without a value (at the end) in the
    order of the source, and those of a document by their place in it. A field is a typed column of documents, else a
    key of their metadata: of the values of a key that is no typed column, numbers are ordered by size, before texts by
    their characters. Typed times are compared in UTC; one without a zone counts as UTC. Sorting is in bounded memory;
    the sorted arrays take some 80 bytes a chunk until they are written.
    """

    version: ClassVar[int] = 1
    settings: ContiguitySettings
    shard_rows = _EVERYTHING

    @staticmethod
    @override
    def whole(settings: Any) -> tuple[TableKey, ...]:
        return (DOCUMENTS,) if settings.within or settings.order is not None else ()

    def build(
        self, partitions: list[InputPartition], out: Path, *, tables: dict[str, list[InputPartition]] | None = None
    ) -> ContiguityStats:
        """Sort the chunks; the documents are those of `tables`, where a field is read."""
        documents = [] if tables is None else [part for part in tables[DOCUMENTS.label] if part.rows]
        rows = sum(part.rows for part in partitions)
        with _connected(out) as connection:
            counts = _count(connection, self.settings, documents, partitions)
            batches = list(_sorted(connection, self.settings, documents, partitions))
        columns: list[Any] = [
            np.concatenate([np.zeros(0, dtype), *(batch[name].to_numpy() for batch in batches)])
            for name, dtype in (("id", np.int64), ("part", np.int32), ("row", np.int64), ("group", np.uint64))
        ]
        ids, partition, row, group = columns
        # Two neighbouring sequences have one hash once in 2^64.
        starts = np.flatnonzero(np.concatenate([np.ones(min(1, rows), bool), group[1:] != group[:-1]]))
        labels = tuple(part.label for part in partitions)
        Sequences(Rows(ids, partition, row, labels), np.append(starts, rows)).save(out)
        return ContiguityStats(rows=rows, sequences=len(starts), **counts)

    @override
    @classmethod
    def warnings(cls, settings: Any, shards: Sequence[Stats]) -> list[str]:
        found = [shard.of(ContiguityStats) for shard in shards]
        documents, apart, unordered, equal, texts = (
            sum(getattr(one, name) for one in found) for name in ("documents", "apart", "unordered", "equal", "texts")
        )
        warnings = []
        if apart:
            warnings.append(
                f"{apart:,} of {documents:,} documents lack a field of `within` ({', '.join(settings.within)}); each "
                "is a sequence of its own"
            )
        if unordered:
            warnings.append(
                f"{unordered:,} of {documents:,} documents lack the field `order` ({settings.order}); they are at the "
                "end of their sequence, in the order of the source"
            )
        if equal:
            warnings.append(
                f"{equal:,} of {documents:,} documents have the same value of `order` ({settings.order}) as another "
                "one of their sequence; these are in the order of the source"
            )
        if texts:
            warnings.append(
                f"{texts:,} of {documents:,} documents have a value of `order` ({settings.order}) that is no number; "
                "these are ordered by their characters; give times a type in source.metadata"
            )
        return warnings


@contextlib.contextmanager
def _connected(out: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open DuckDB, which spills into a folder that is gone afterwards."""
    scratch = out / "sorting"
    try:
        with bounded_sql(scratch, threads=1) as connection:
            yield connection
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _files(parts: Sequence[InputPartition], **options: str) -> str:
    """Return the call that reads some partitions."""
    files = ", ".join(_text(str(part.files["parquet"])) for part in parts)
    given = "".join(f", {name} = {value}" for name, value in options.items())
    return f"read_parquet([{files}]{given})"


def _field(name: str, columns: Collection[str]) -> str:
    """Return the expression of a field of documents: a column, else a key of the metadata."""
    if name in columns:
        return '"' + name.replace('"', '""') + '"'
    escaped = name.replace("~", "~0").replace("/", "~1")
    paths = dict.fromkeys((f"/{escaped}", f"/{escaped.replace('.', '/')}"))
    values = ", ".join(f"json_extract_string(metadata, {_text(path)})" for path in paths)
    return f"coalesce({values})"


def _keys(settings: ContiguitySettings, documents: Sequence[InputPartition]) -> str:
    """Return the query of `doc_id`, the fields of `within`, `w0`, `w1`, …, and the two keys that documents sort by."""
    known = {field.name: field.type for part in documents for field in pq.read_schema(part.files["parquet"])}
    within = [f"{_field(name, known)} AS w{number}" for number, name in enumerate(settings.within)]
    order = _field(settings.order, known) if settings.order is not None else "NULL"
    typed = settings.order is None or settings.order in known
    is_text = not typed or known.get(str(settings.order)) == pa.string()
    number = "NULL" if typed else f"try_cast({order} AS DOUBLE)"
    columns = ["doc_id", *within, f"{number} AS number", f"{order} AS value", f"{is_text} AS is_text"]
    return (
        f"SELECT {', '.join(columns)} "  # noqa: S608 - fields are quoted
        f"FROM {_files(documents, union_by_name='true')}"
    )


def _apart(settings: ContiguitySettings) -> str:
    """Return the condition that a document is a sequence of its own."""
    return " OR ".join([f"w{number} IS NULL" for number in range(len(settings.within))]) or "true"


def _count(
    connection: duckdb.DuckDBPyConnection,
    settings: ContiguitySettings,
    documents: Sequence[InputPartition],
    chunks: Sequence[InputPartition],
) -> dict[str, int]:
    """Return how many documents with chunks there are, and how many lack a field."""
    chunks = [part for part in chunks if part.rows]
    if not documents or not chunks:
        return {}
    keys, apart = _keys(settings, documents), _apart(settings)
    within = "".join(f"w{number}, " for number in range(len(settings.within)))
    found = connection.execute(
        f"WITH keys AS (FROM ({keys}) WHERE doc_id IN (SELECT doc_id FROM {_files(chunks)})), equal AS "  # noqa: S608 - fields are quoted
        f"(SELECT count(*) AS size FROM keys WHERE value IS NOT NULL AND NOT ({apart}) GROUP BY {within}value) "
        f"SELECT count(*), count(*) FILTER (WHERE {apart}), count(*) FILTER (WHERE value IS NULL), "
        "count(*) FILTER (WHERE is_text AND value IS NOT NULL AND try_cast(value AS DOUBLE) IS NULL), "
        "(SELECT coalesce(sum(size), 0) FROM equal WHERE size > 1) FROM keys"
    ).fetchall()
    ((total, alone, unordered, texts, equal),) = found
    has_order = settings.order is not None
    return {
        "documents": total,
        "apart": alone if settings.within else 0,
        "unordered": unordered if has_order else 0,
        "equal": int(equal),
        "texts": texts,
    }


def _sorted(
    connection: duckdb.DuckDBPyConnection,
    settings: ContiguitySettings,
    documents: Sequence[InputPartition],
    chunks: Sequence[InputPartition],
) -> Iterator[pa.RecordBatch]:
    """Yield the chunks in order: `id`, `part` and `row` of the partitions, and `group`, a hash of the sequence."""
    names = {str(part.files["parquet"]): number for number, part in enumerate(chunks) if part.rows}
    if not names:
        return
    connection.register("parts", pa.table({"filename": list(names), "part": pa.array(names.values(), pa.int32())}))
    read = _files([part for part in chunks if part.rows], filename="true", file_row_number="true")
    fields = [f"w{number}" for number in range(len(settings.within))]
    apart = _apart(settings)
    own = f"CASE WHEN {apart} THEN doc_id END"
    shared = [f"CASE WHEN {apart} THEN NULL ELSE {name} END" for name in fields]
    keys = ", ".join([own, *shared])
    if documents:
        joined = f"chunks JOIN ({_keys(settings, documents)}) USING (doc_id)"
        ordered = f"{keys}, number NULLS LAST, value NULLS LAST, part, file_row_number"
    else:
        joined, ordered = "chunks", f"{keys}, part, file_row_number"
    query = (
        f"WITH chunks AS (SELECT chunk_id, doc_id, part, file_row_number FROM {read} JOIN parts USING (filename)) "  # noqa: S608 - fields are quoted
        f'SELECT chunk_id AS id, part, file_row_number AS row, hash({keys}) AS "group" FROM {joined} ORDER BY {ordered}'
    )
    reader: pa.RecordBatchReader = connection.sql(query).to_arrow_reader(_BATCH)
    yield from reader
