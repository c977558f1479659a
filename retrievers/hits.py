"""Hits: what every retriever answers with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from mnemodex.indexers.arrays import find_ids
from mnemodex.indexers.rows import ShardRows
from mnemodex.retrievers.top_k import top_k
from mnemodex.retrievers.trec import trec_run
from mnemodex.schemas.metadata import documents_spec
from mnemodex.schemas.store.columns import to_column
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from mnemodex.indexers.arrays import Bools, Float32s, Int32s, Int64s, Integers
    from mnemodex.indexers.rows import Rows
    from mnemodex.retrievers.row_source import RowSource

    Best = tuple[Int64s, Float32s]
    """Numbers of rows and their scores, best first."""
    Take = Callable[[str, tuple[Integers, ...]], pa.Table]
    """Returns rows of a partition, given its label and the indices of its hits in the arrays."""
    Explain = Callable[[Int64s], list[list[list["Reason"]]]]
    """Returns the evidence for every hit, given the hits' numbers, int64 of shape (queries, k)."""

MISSING_ID = -1
MISSING_SCORE = np.float32(-np.inf)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One hit's chunk with its document's key, and what its row has besides key, title and text."""

    rank: int
    score: float
    chunk_id: int
    doc_id: int
    key: str
    title: str
    text: str
    start: int
    end: int
    metadata: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return what `search --json` prints; ids are strings, since they do not fit a JavaScript number."""
        # `asdict` copies what is in metadata, which takes longer than all else.
        fields = {name: getattr(self, name) for name in self.__slots__}
        return fields | {"chunk_id": str(self.chunk_id), "doc_id": str(self.doc_id)}


@dataclass(frozen=True, slots=True)
class Reason:
    """A piece of evidence for a hit.

    Attributes:
        kind: what it is, in the retriever's words.
        text: the evidence, as people read it.
        score: its part of the hit's score; of a sentence, a fact or an entity its own.
    """

    kind: str
    text: str
    score: float

    def to_json(self) -> dict[str, Any]:
        """Return what `search --json --explain` prints."""
        return asdict(self)


@dataclass(frozen=True, repr=False)
class Hits:
    """The answers to a batch of queries: `hits[0]` are the chunks of the first one.

    Attributes:
        ids: int64 of shape (queries, k); -1 where there are fewer than k.
        scores: float32 of shape (queries, k), descending, ties by ascending id; -inf where there are fewer than k.
        partition: number of each hit's partition in `labels`, int32 of shape (queries, k); -1 where there is none,
            or it has no chunk: then it is left out of all that is said of chunks.
        row: its row there, int64 of shape (queries, k); -1 where there is none.
        snapshot: where the rows are read from.
        kind: the id space: "chunk", "pair" or "position".
        explain: returns the evidence for every hit; None where the retriever knows none.
    """

    ids: Int64s
    scores: Float32s
    partition: Int32s
    row: Int64s
    labels: tuple[str, ...]
    snapshot: RowSource
    kind: str = "chunk"
    explain: Callable[[], list[list[list[Reason]]]] | None = None

    @classmethod
    def at(
        cls, snapshot: RowSource, shards: ShardRows, best: Iterable[Best], k: int, *, explain: Explain | None = None
    ) -> Hits:
        """Return hits, at most k a query, that are given by their numbers in the rows of an index."""
        answers = list(best)
        numbers = np.full((len(answers), k), MISSING_ID, np.int64)
        scores = np.full((len(answers), k), MISSING_SCORE, np.float32)
        for query, (hit_numbers, hit_scores) in enumerate(answers):
            numbers[query, : len(hit_numbers)], scores[query, : len(hit_numbers)] = hit_numbers, hit_scores
        rows = shards.at(numbers)
        evidence = None if explain is None else partial(explain, numbers)
        return cls(rows.ids, scores, rows.partition, rows.row, rows.labels, snapshot, explain=evidence)

    @classmethod
    def best(
        cls,
        snapshot: RowSource,
        rows: Rows,
        scores: Iterable[Float32s],
        k: int,
        *,
        allowed: Int64s | None = None,
        explain: Explain | None = None,
    ) -> Hits:
        """Return the k best rows of an index for each query: ties by ascending id, rows that score -inf left out.

        Scores are, for each query, those of all rows, float32 of shape (rows,). Hits may have all ids by default.
        """
        numbers = None if allowed is None else np.flatnonzero(np.isin(rows.ids, allowed))
        ids = np.asarray(rows.ids) if numbers is None else np.asarray(rows.ids)[numbers]

        def best(row_scores: Float32s) -> Best:
            candidates = row_scores if numbers is None else row_scores[numbers]
            chosen = top_k(candidates, k, ids=ids)
            chosen = chosen[candidates[chosen] > MISSING_SCORE]
            return chosen if numbers is None else numbers[chosen], candidates[chosen]

        return cls.at(snapshot, ShardRows([rows]), map(best, scores), k, explain=explain)

    def without(self, queries: Bools) -> Self:
        """Return the hits without those of some queries, bool of shape (queries,)."""
        ids, row = (np.where(queries[:, None], MISSING_ID, column) for column in (self.ids, self.row))
        scores = np.where(queries[:, None], MISSING_SCORE, self.scores)
        partition = np.where(queries[:, None], np.int32(MISSING_ID), self.partition)
        return replace(self, ids=ids, scores=scores, partition=partition, row=row)

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.ids)

    def __getitem__(self, query: int) -> list[Chunk]:
        """Return the chunks of one query, best first."""
        if not -len(self) <= query < len(self):
            raise IndexError(f"there is no query {query}: the hits are those of {len(self)} queries")
        return self._of(slice(query, query + 1 or None)).chunks()[0]

    def __iter__(self) -> Iterator[list[Chunk]]:
        """Yield the chunks of each query."""
        return iter(self.chunks())

    def __repr__(self) -> str:
        from mnemodex.retrievers.display import hits_text

        return hits_text(self)

    def _repr_html_(self) -> str:
        from mnemodex.retrievers.display import hits_html

        return hits_html(self)

    def first(self, queries: int, k: int) -> Self:
        """Return the first hits of the first queries, without their evidence."""
        return self._of(slice(queries), slice(k))

    def _of(self, queries: slice, ranks: slice = slice(None)) -> Self:
        columns = {name: getattr(self, name)[queries, ranks] for name in ("ids", "scores", "partition", "row")}
        return replace(self, **columns, explain=None)

    def chunks(self) -> list[list[Chunk]]:
        """Return the chunks of each query, best first; read by position, never by a scan."""
        answers: list[list[Chunk]] = [[] for _ in range(len(self))]
        for row in self._table(()).to_pylist():
            metadata = json.loads(row.pop("metadata"))
            answers[row.pop("query")].append(Chunk(**row, metadata=metadata))
        return answers

    def reasons(self) -> list[list[list[Reason]]]:
        """Return for each query, for each of its hits, the evidence, strongest first; none where it is not known."""
        if self.explain is not None:
            return self.explain()
        return [[[] for _ in range(hits)] for hits in (self.ids != MISSING_ID).sum(axis=1).tolist()]

    def to_arrow(self) -> pa.Table:
        """Return a row for each hit: query (its number), rank (from 1), score and the fields of `Chunk`, in order.

        The column `metadata` holds JSON; those of its fields that `documents` has as columns follow, typed as there.
        """
        return self._table(tuple(self._types))

    @property
    def _types(self) -> Mapping[str, str]:
        """The documents' columns of metadata, and the names of their types."""
        return self.snapshot.fields

    def _table(self, fields: Sequence[str]) -> pa.Table:
        """Return a row for each hit, with some of the columns of metadata."""
        query, column = np.nonzero(self.partition != MISSING_ID)
        rows = self._rows(["chunk_id", "doc_id", "title", "text", "start", "end"])
        documents = self._documents(["key", "metadata", *fields])
        rows = rows.add_column(2, documents.field("key"), documents["key"])
        for name in ("metadata", *fields):
            rows = rows.append_column(documents.field(name), documents[name])
        ranks = {"query": to_column(query, pa.int64()), "rank": to_column(column + 1, pa.int64())}
        ranks["score"] = to_column(self.scores[query, column], pa.float32())
        return pa.table(ranks | dict(zip(rows.column_names, rows.columns, strict=True)))

    def values(self, field: str) -> pa.ChunkedArray:
        """Return a field that documents have as a column, for each hit, by query and rank."""
        return self._documents([field])[field]

    def to_pandas(self) -> pd.DataFrame:
        """Return `to_arrow` as a data frame."""
        return self.to_arrow().to_pandas()

    def to_trec(self, query_ids: Sequence[str] | None = None, *, tag: str = "mnemodex") -> str:
        """Return a TREC run: one line a document, which scores as its best chunk; queries are numbered by default."""
        names = query_ids if query_ids is not None else [str(number) for number in range(len(self))]
        return trec_run(names, self.documents(), tag=tag)

    def documents(self) -> list[list[tuple[str, float]]]:
        """Return for each query the keys and scores of its documents, best first; one scores as its best chunk."""
        answers: list[dict[str, float]] = [{} for _ in range(len(self))]
        hits = np.nonzero(self.partition != MISSING_ID)
        for query, score, key in zip(hits[0].tolist(), self.scores[hits].tolist(), self.keys(), strict=True):
            answers[query].setdefault(key, score)
        return [list(answer.items()) for answer in answers]

    def document_ids(self) -> Int64s:
        """Return the document of each hit, int64 of shape (queries, k), -1 where there is none."""
        documents = np.full(self.ids.shape, MISSING_ID, np.int64)
        for label, hits in self._by_partition():
            documents[hits] = self.snapshot.column(CHUNKS.label, label, "doc_id")[self.row[hits]]
        return documents

    def _by_partition(self) -> Iterator[tuple[str, tuple[Integers, ...]]]:
        """Yield the label of each partition that has hits, and the indices of these in the arrays."""
        is_hit = self.partition != MISSING_ID
        for number in np.unique(self.partition[is_hit]):
            yield self.labels[number], np.nonzero(is_hit & (self.partition == number))

    def _rows(self, columns: list[str]) -> pa.Table:
        """Return columns of the hits' chunks, by query and rank."""

        def take(label: str, hits: tuple[Integers, ...]) -> pa.Table:
            return self.snapshot.take(CHUNKS.label, label, self.row[hits], columns)

        return self._in_order(take, spec_of(CHUNKS).schema, columns)

    def _in_order(self, take: Take, schema: pa.Schema, columns: list[str]) -> pa.Table:
        """Return columns of a table for all hits, by query and rank, which are taken partition by partition."""
        is_hit = self.partition != MISSING_ID
        position = np.cumsum(is_hit.ravel()).reshape(is_hit.shape) - 1
        parts, positions = [], []
        for label, hits in self._by_partition():
            parts.append(take(label, hits))
            positions.append(position[hits])
        if not parts:
            return pa.Table.from_batches([], pa.schema([schema.field(name) for name in columns]))
        return pa.concat_tables(parts).take(to_column(np.argsort(np.concatenate(positions)), pa.int64()))

    def _documents(self, columns: list[str]) -> pa.Table:
        """Return columns of the hits' documents, by query and rank."""
        documents = self.document_ids()

        def take(label: str, hits: tuple[Integers, ...]) -> pa.Table:
            rows = self._document_rows(label, documents[hits])
            return self.snapshot.take(DOCUMENTS.label, label, rows, columns)

        return self._in_order(take, documents_spec(self._types).schema, columns)

    def keys(self) -> list[str]:
        """Return the keys of the hits' documents, by query and rank."""
        documents = self.document_ids()
        keys = np.full(self.ids.shape, "", dtype=object)
        # A chunk's document is in the documents' partition of the same label.
        for label, hits in self._by_partition():
            rows = self._document_rows(label, documents[hits])
            keys[hits] = self.snapshot.column(DOCUMENTS.label, label, "key")[rows]
        return list(keys[self.partition != MISSING_ID])

    def _document_rows(self, label: str, ids: Int64s) -> Int64s:
        """Return the rows of documents of a partition of chunks, which are in the documents' of the same label."""
        return find_ids(self.snapshot.column(DOCUMENTS.label, label, "doc_id"), ids)
