"""Question-answer search: the pairs of a memory whose questions are nearest, with their answers and their passages."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from typing_extensions import override

from mnemodex.indexers.arrays import begins, find_ids
from mnemodex.indexers.graph.names import sentences
from mnemodex.indexers.qa import normalize_question
from mnemodex.retrievers.base import Retriever, check, is_blank
from mnemodex.retrievers.dense import open_searcher
from mnemodex.retrievers.hits import MISSING_ID, Chunk, Hits, Reason
from mnemodex.retrievers.readers.answers import merge_answers
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers, to_column
from mnemodex.schemas.tables import CHUNKS, QA_PAIRS, QUESTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnemodex.indexers.arrays import Int32s, Int64s
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.snapshot import Snapshot
    from mnemodex.schemas.manifest import IndexEntry

_TABLES = 64
"""Partitions of questions that are kept in memory."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One hit: a question of the memory with its answers, best first, and the chunk that they are from, if any."""

    rank: int
    score: float
    question_id: int
    question: str
    answers: tuple[str, ...]
    chunk: Chunk | None = None

    @property
    def sentence(self) -> str:
        """The first sentence of the chunk that holds an answer; empty where none does."""
        folded = [answer.casefold() for answer in self.answers]
        found = sentences(self.chunk.text) if self.chunk is not None else []
        return next((text for text in found if any(answer in text.casefold() for answer in folded)), "")

    def to_json(self) -> dict[str, Any]:
        """Return what `search --json` prints; ids are strings, since they do not fit a JavaScript number."""
        source = dict.fromkeys(("chunk_id", "key", "title", "text", "metadata"))
        if self.chunk is not None:
            source = {name: value for name, value in self.chunk.to_json().items() if name in source}
        return {
            "rank": self.rank,
            "score": self.score,
            "question_id": str(self.question_id),
            "question": self.question,
            "answers": list(self.answers),
            **source,
        }


@dataclass(frozen=True, repr=False)
class PairHits(Hits):
    """Hits whose ids are those of questions; of `chunks()`, `documents()` and the like those without a chunk are not.

    Attributes:
        read: returns the columns `question` and `answers` of questions, given their ids, int64 of shape (n,).
    """

    read: Callable[[Int64s], pa.Table] = field(kw_only=True)

    def pairs(self) -> list[list[Pair]]:
        """Return the pairs of each query, best first."""
        chunks = {(query, chunk.rank): chunk for query, found in enumerate(self.chunks()) for chunk in found}
        return [
            [
                Pair(rank, score, question_id, question, answers, chunks.get((query, rank)))
                for rank, (question_id, score, question, answers) in enumerate(row, start=1)
            ]
            for query, row in enumerate(self._rows_of_queries())
        ]

    def answers(self) -> list[list[tuple[str, ...]]]:
        """Return the answers of each pair of each query, best first, without reading any chunk."""
        return [[answers for *_, answers in row] for row in self._rows_of_queries()]

    @override
    def reasons(self) -> list[list[list[Reason]]]:
        return [
            [[Reason("question", question, score)] for _, score, question, _ in row] for row in self._rows_of_queries()
        ]

    def _rows_of_queries(self) -> list[list[tuple[int, float, str, tuple[str, ...]]]]:
        is_hit = self.ids != MISSING_ID
        ids, place = np.unique(self.ids[is_hit], return_inverse=True)
        table = self.read(ids)
        questions, answers = table["question"].to_pylist(), list(map(tuple, table["answers"].to_pylist()))
        rows: list[list[tuple[int, float, str, tuple[str, ...]]]] = [[] for _ in range(len(self))]
        columns = (np.nonzero(is_hit)[0], place, self.ids[is_hit], self.scores[is_hit])
        for query, number, question_id, score in zip(*(column.tolist() for column in columns), strict=True):
            rows[query].append((question_id, score, questions[number], answers[number]))
        return rows


class QARetriever(Retriever):
    """Searches the questions of pairs (RePAQ; Lewis et al., 2021).

    Raises `ModelError` if the model is not the one that the index was built with.
    """

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        self.name = entry.name
        self._memory = memory
        self._embedding = str(entry.settings["embed"])
        self._searcher = open_searcher(memory.snapshot, entry)
        self._pairs = _Pairs(memory.snapshot)

    @override
    def search(self, queries: Sequence[str], k: int = 10, *, where: str | None = None) -> PairHits:
        """Return the questions nearest to each query.

        `Hits.ids` are those of questions and `Hits.kind` is "pair"; a hit's chunk is that of its first pair that has
        one. With `where`, only pairs whose chunks it keeps are found, and only their answers given. A query of
        nothing but question marks has no hits.

        Raises:
            QueryError: see `Retriever.search`.
        """
        questions = [normalize_question(question) for question in check(queries, k)]
        vectors = self._memory.encoder(self._embedding).encode_queries(questions)
        chunk_ids = None if where is None else self._memory.ids_where(where)
        allowed = None if chunk_ids is None else self._pairs.questions_of(chunk_ids)
        scores, ids, _ = self._searcher.search(vectors, k, allowed=allowed)
        partition, row = self._pairs.chunks_of(ids, chunk_ids)
        hits = PairHits(
            ids,
            scores,
            partition,
            row,
            self._pairs.labels,
            self._memory.snapshot,
            kind="pair",
            read=lambda found: self._pairs.read(found, chunk_ids),
        )
        return hits.without(np.array([is_blank(question) for question in questions], np.bool_))

    def predict(self, queries: Sequence[str], *, where: str | None = None) -> list[str | None]:
        """Return one answer to each query: the first one of the nearest pair; None where there is no pair."""
        return [row[0][0] if row else None for row in self.search(queries, 1, where=where).answers()]


class _Pairs:
    """The tables of questions and pairs of a snapshot, read by position.

    Attributes:
        labels: of the partitions of pairs; chunks have partitions of the same labels.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        tables = snapshot.manifest.tables
        self.labels = tuple(part.label for part in tables[QA_PAIRS.label].partitions)
        self._ranges = [part.label for part in tables[QUESTIONS.label].partitions]
        self._table = lru_cache(maxsize=_TABLES)(self._read_table)
        self._chunk_ids = lru_cache(maxsize=256)(self._read_chunk_ids)

    def questions_of(self, chunk_ids: Int64s) -> Int64s:
        """Return the ids of the questions that have a pair of some chunks, ascending."""
        found = [np.zeros(0, np.int64)]
        for number, label in enumerate(self.labels):
            kept = np.isin(self._chunk_ids(number), chunk_ids)
            if kept.any():
                found.append(self._snapshot.column(QA_PAIRS.label, label, "question_id")[kept])
        return np.unique(np.concatenate(found))

    def chunks_of(self, ids: Int64s, chunk_ids: Int64s | None) -> tuple[Int32s, Int64s]:
        """Return the chunk of each question, of any shape: the number of its partition and the row, or -1.

        It is that of the first pair that has one, of `chunk_ids` where these are given.
        """
        unique, inverse = np.unique(ids, return_inverse=True)
        known = unique[unique != MISSING_ID]
        owner, part, _, chunk = self._pairs_of(known, chunk_ids)
        first = begins(owner)
        partition, row = np.full(len(unique), -1, np.int32), np.full(len(unique), -1, np.int64)
        places = owner[first] + len(unique) - len(known)
        partition[places] = part[first]
        for number in np.unique(part[first]).tolist():
            here = part[first] == number
            ids_there = self._snapshot.column(CHUNKS.label, self.labels[number], "chunk_id")
            row[places[here]] = find_ids(ids_there, chunk[first][here])
        return partition[inverse].reshape(ids.shape), row[inverse].reshape(ids.shape)

    def read(self, ids: Int64s, chunk_ids: Int64s | None) -> pa.Table:
        """Return the columns `question` and `answers` of questions, ids ascending; pairs count as in `chunks_of`."""
        found = self._take(ids, ["question", "answers"])
        if chunk_ids is None:
            return found
        owner, part, row, _ = self._pairs_of(ids, chunk_ids)
        parts, places = [found["answers"].combine_chunks().slice(0, 0)], [np.zeros(0, np.int64)]
        for number in np.unique(part).tolist():
            here = np.flatnonzero(part == number)
            taken = self._snapshot.take(QA_PAIRS.label, self.labels[number], row[here].tolist(), ["answers"])
            parts.append(taken["answers"].combine_chunks())
            places.append(here)
        in_order = pa.concat_arrays(parts).take(to_column(np.argsort(np.concatenate(places)), pa.int64()))
        return found.set_column(1, "answers", merge_answers(owner, in_order, len(ids))[0])

    def _pairs_of(self, ids: Int64s, chunk_ids: Int64s | None) -> tuple[Int64s, Int64s, Int64s, Int64s]:
        """Return the pairs of questions, ids ascending, that have a chunk, or one of some.

        They are in the order of the questions: the number of the question, of the partition, the row and the chunk.
        """
        table = self._take(ids, ["partition", "row"])
        lists = table["partition"].combine_chunks()
        owner = np.repeat(np.arange(len(ids)), numbers(lists.value_lengths()))
        part, row = numbers(lists.flatten()), numbers(table["row"].combine_chunks().flatten())
        chunk = np.full(len(part), MISSING_ID, np.int64)
        for number in np.unique(part).tolist():
            here = part == number
            chunk[here] = self._chunk_ids(number)[row[here]]
        kept = chunk != MISSING_ID if chunk_ids is None else np.isin(chunk, chunk_ids)
        return owner[kept], part[kept], row[kept], chunk[kept]

    def _take(self, ids: Int64s, columns: list[str]) -> pa.Table:
        """Return rows of questions, ids ascending."""
        bits = len(self._ranges).bit_length() - 1
        bucket = ids >> (63 - bits)
        parts = [self._table(0).slice(0, 0)]
        for number in np.unique(bucket).tolist():
            table = self._table(number)
            places = np.searchsorted(numbers(table["question_id"]), ids[bucket == number])
            parts.append(table.take(to_column(places, pa.int64())))
        return pa.concat_tables(parts).select(columns)

    def _read_table(self, number: int) -> pa.Table:
        table = parquet.read(self._snapshot.path(QUESTIONS.label, self._ranges[number]))
        return table.combine_chunks()

    def _read_chunk_ids(self, number: int) -> Int64s:
        """Return the chunk of each pair of a partition, -1 where there is none."""
        path = self._snapshot.path(QA_PAIRS.label, self.labels[number])
        return numbers(parquet.read(path, columns=["chunk_id"])["chunk_id"].fill_null(MISSING_ID))
