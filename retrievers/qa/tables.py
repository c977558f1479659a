"""The tables of questions and pairs of a snapshot, read by position."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mnemodex.indexers.arrays import are_among, begins
from mnemodex.retrievers.hits import MISSING_ID
from mnemodex.retrievers.readers.answers import merge_answers
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers, to_column
from mnemodex.schemas.tables import CHUNKS, QA_PAIRS, QUESTIONS

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Bools, Int32s, Int64s, Integers
    from mnemodex.retrievers.snapshot import Snapshot

_PARTITIONS = 256
"""Partitions of pairs whose chunks are kept in memory: 16 bytes a pair."""

_NONE = to_column([MISSING_ID], pa.int64())[0]
"""A number from which Arrow would make one imports pandas."""


class PairTables:
    """The tables of questions and pairs of a snapshot, read by position.

    Attributes:
        labels: of the partitions of pairs; chunks have partitions of the same labels.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        tables = snapshot.manifest.tables
        self.labels = tuple(part.label for part in tables[QA_PAIRS.label].partitions)
        self._ranges = [part.label for part in tables[QUESTIONS.label].partitions]
        self._chunk_ids = lru_cache(maxsize=_PARTITIONS)(self._read_chunk_ids)
        self._order = lru_cache(maxsize=_PARTITIONS)(self._read_order)

    def questions_of(self, chunk_ids: Int64s | None) -> Int64s:
        """Return the ids of the questions that have a pair of some chunks, by default of any, ascending."""
        return self._with_chunk if chunk_ids is None else self._questions_of(chunk_ids)

    @cached_property
    def _with_chunk(self) -> Int64s:
        return self._questions_of(None)

    def _questions_of(self, chunk_ids: Int64s | None) -> Int64s:
        found = [np.zeros(0, np.int64)]
        for number, label in enumerate(self.labels):
            kept = _kept(self._chunk_ids(number), chunk_ids)
            if kept.any():
                found.append(self._snapshot.column(QA_PAIRS.label, label, "question_id")[kept])
        return np.unique(np.concatenate(found))

    def chunks_of(self, ids: Int64s, chunk_ids: Int64s | None) -> tuple[Int32s, Int64s]:
        """Return the chunk of each question, of any shape: the number of its partition and the row, or -1.

        It is that of the first pair that has one, of `chunk_ids` where these are given.
        """
        unique, inverse = np.unique(ids, return_inverse=True)
        known = unique[unique != MISSING_ID]
        owner, part, _, chunk = self.pairs_of(known, chunk_ids)
        first = begins(owner)
        partition, row = np.full(len(unique), -1, np.int32), np.full(len(unique), -1, np.int64)
        places = owner[first] + len(unique) - len(known)
        partition[places] = part[first]
        row[places] = self.rows_of(part[first], chunk[first])
        return partition[inverse].reshape(ids.shape), row[inverse].reshape(ids.shape)

    def rows_of(self, partition: Integers, chunk_ids: Int64s) -> Int64s:
        """Return the row of each chunk in its partition, of any shape; -1 where the partition is -1."""
        row = np.full(chunk_ids.shape, MISSING_ID, np.int64)
        for number in np.unique(partition[partition != MISSING_ID]).tolist():
            here = partition == number
            ids, rows = self._order(number)
            row[here] = rows[np.minimum(np.searchsorted(ids, chunk_ids[here]), len(ids) - 1)]
        return row

    def read(self, ids: Int64s, chunk_ids: Int64s | None) -> pa.Table:
        """Return the columns `question` and `answers` of questions, ids ascending; pairs count as in `chunks_of`."""
        found = self._take(ids, ["question", "answers"])
        if chunk_ids is None:
            return found
        owner, part, row, _ = self.pairs_of(ids, chunk_ids)
        parts, places = [found["answers"].combine_chunks().slice(0, 0)], [np.zeros(0, np.int64)]
        for number in np.unique(part).tolist():
            here = np.flatnonzero(part == number)
            taken = self._snapshot.take(QA_PAIRS.label, self.labels[number], row[here].tolist(), ["answers"])
            parts.append(taken["answers"].combine_chunks())
            places.append(here)
        in_order = pa.concat_arrays(parts).take(to_column(np.argsort(np.concatenate(places)), pa.int64()))
        return found.set_column(1, "answers", merge_answers(owner, in_order, len(ids))[0])

    def pairs_of(self, ids: Int64s, chunk_ids: Int64s | None) -> tuple[Int64s, Int64s, Int64s, Int64s]:
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
        kept = _kept(chunk, chunk_ids)
        return owner[kept], part[kept], row[kept], chunk[kept]

    def _take(self, ids: Int64s, columns: list[str]) -> pa.Table:
        """Return rows of questions, ids ascending."""
        bits = len(self._ranges).bit_length() - 1
        bucket = ids >> (63 - bits)
        parts = []
        for number in np.unique(bucket).tolist() or [0]:
            label = self._ranges[number]
            known = self._snapshot.column(QUESTIONS.label, label, "question_id")
            rows = np.searchsorted(known, ids[bucket == number])
            parts.append(self._snapshot.take(QUESTIONS.label, label, rows, columns))
        found = pa.concat_tables(parts)
        changed = self._snapshot.corrections.rows(QUESTIONS.label)
        if changed is None or not len(changed) or not len(ids):
            return found
        known = numbers(changed["question_id"])
        is_changed = are_among(ids, known)
        places = np.where(is_changed, len(ids) + np.searchsorted(known, ids), np.arange(len(ids)))
        both = pa.concat_tables([found, changed.select(columns).cast(found.schema)])
        return both.take(to_column(places, pa.int64()))

    def _read_chunk_ids(self, number: int) -> Int64s:
        """Return the chunk of each pair of a partition, -1 where there is none or it is left out."""
        path = self._snapshot.path(QA_PAIRS.label, self.labels[number])
        ids = numbers(parquet.read(path, columns=["chunk_id"])["chunk_id"].fill_null(_NONE))
        return np.where(self._snapshot.tombstones.mask("chunk_id", ids), MISSING_ID, ids)

    def _read_order(self, number: int) -> tuple[Int64s, Int64s]:
        """Return the chunks of a partition by ascending id: their ids, and their rows."""
        ids = self._snapshot.column(CHUNKS.label, self.labels[number], "chunk_id")
        order = np.argsort(ids)
        return ids[order], order


def _kept(found: Int64s, chunk_ids: Int64s | None) -> Bools:
    """Return which are chunks, or some of these."""
    return found != MISSING_ID if chunk_ids is None else np.isin(found, chunk_ids)
