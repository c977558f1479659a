"""Corrections of questions: what is known of them when documents are left out, whose pairs stay in the files.

A pair of a file stays, without a passage; one that was generated of a document goes with it.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemodex.indexers.arrays import are_among
from mnemodex.pipelines.qa.pairs import OF_FILE
from mnemodex.pipelines.qa.questions import gather_questions, joint_texts
from mnemodex.retrievers.corrections import Corrections, corrected_schema
from mnemodex.retrievers.memory import Memory
from mnemodex.retrievers.snapshot import Snapshot
from mnemodex.schemas.ids import hash_text
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers, to_column
from mnemodex.schemas.tables import CORRECTIONS, QA_PAIRS, QUESTIONS, TableKey, spec_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnemodex.indexers.arrays import Bools, Float32s, Int64s
    from mnemodex.retrievers.tombstones import Tombstones
    from mnemodex.schemas.manifest import Manifest
    from mnemodex.schemas.store.store import Store

_NO_PASSAGE = ("doc_id", "chunk_id", "grounded")
"""Columns that are null of a pair without a passage."""


class PairCorrections:
    """The rows of pairs, questions and their vectors that change or go.

    It reads two columns of all pairs, two of all questions, and what is said by pairs of questions that change.

    Attributes:
        left_out: how many pairs go.
    """

    def __init__(self, store: Store, manifest: Manifest, ids: Tombstones, passed: Mapping[str, Any]) -> None:
        self._store = store
        self._manifest = manifest
        self._passed = passed
        pairs = [self._pairs(number, ids) for number in range(len(manifest.tables[QA_PAIRS.label].partitions))]
        self._gone = [gone for gone, _, _ in pairs]
        self._kept = [kept for _, kept, _ in pairs]
        self._touched = np.concatenate([np.zeros(0, np.int64), *(asked for _, _, asked in pairs)])
        self.left_out = sum(map(len, self._gone))

    def rows(self) -> dict[TableKey, pa.Table]:
        """Return the rows of each table, and in the column `left_out` whether each goes."""
        left_out, former, changed = self._questions()
        schema = corrected_schema(QUESTIONS)
        # Of those that go, nothing but the id is kept.
        empty = [left_out, *(_empty(field.type, len(left_out)) for field in list(schema)[1:-1])]
        columns = zip([*empty, np.ones(len(left_out), np.bool_)], schema, strict=True)
        gone = pa.table([pa.array(column, field.type) for column, field in columns], schema=schema)
        questions = pa.concat_tables([gone, _with_left_out(changed)]).sort_by("question_id")
        found = {QA_PAIRS: self._without_passage(), QUESTIONS: questions}
        texts = joint_texts(changed)
        differ = np.array([one != other for one, other in zip(texts, joint_texts(former), strict=True)], np.bool_)
        keys = map(TableKey.parse, self._manifest.tables)
        for key in [key for key in keys if (key.family, key.part) == ("embeddings", "question_answers")]:
            ids = numbers(changed["question_id"])[differ]
            found[key] = self._vectors(key, ids, [text for text, other in zip(texts, differ, strict=True) if other])
        return found

    def _pairs(self, number: int, ids: Tombstones) -> tuple[Int64s, Int64s, Int64s]:
        """Return the rows of a partition that go, those that lose their passage, and the questions of both."""
        rows = self._read(QA_PAIRS, number, ["doc_id", "question_id"])
        touched = np.flatnonzero(ids.mask("doc_id", numbers(rows["doc_id"].fill_null(to_column([-1], pa.int64())[0]))))
        if not len(touched):
            return touched, touched, touched
        asked = numbers(rows["question_id"])[touched]
        made = self._read(QA_PAIRS, number, ["generator"])["generator"].take(to_column(touched, pa.int64()))
        is_kept: Bools = pc.equal(made, OF_FILE).to_numpy()
        return touched[~is_kept], touched[is_kept], asked

    def _questions(self) -> tuple[Int64s, pa.Table, pa.Table]:
        """Return the ids of questions that go, and those that change: as they are in the files, and as they are now."""
        touched = np.unique(self._touched)
        gone = [
            numbers(self._read(QA_PAIRS, number, ["question_id"])["question_id"])[rows]
            for number, rows in enumerate(self._gone)
            if len(rows)
        ]
        fewer_ids, fewer = np.unique(np.concatenate([np.zeros(0, np.int64), *gone]), return_counts=True)
        left_out, former = [np.zeros(0, np.int64)], [spec_of(QUESTIONS).schema.empty_table()]
        for number in range(len(self._manifest.tables[QUESTIONS.label].partitions)):
            counts = self._read(QUESTIONS, number, ["question_id", "pairs"])
            ids, pairs = numbers(counts["question_id"]), numbers(counts["pairs"])
            rows = np.flatnonzero(are_among(ids, touched))
            lost = np.zeros(len(rows), np.int64)
            at = np.flatnonzero(are_among(ids[rows], fewer_ids))
            lost[at] = fewer[np.searchsorted(fewer_ids, ids[rows][at])]
            left_out.append(ids[rows[lost == pairs[rows]]])
            # A pair that is alone and stays says what it said.
            changed = rows[(lost < pairs[rows]) & (pairs[rows] > 1)]
            if len(changed):
                names = former[0].schema.names
                former.append(self._read(QUESTIONS, number, names).take(to_column(changed, pa.int64())))
        stored = pa.concat_tables(former).combine_chunks().sort_by("question_id")
        return np.concatenate(left_out), stored, self._gathered(stored)

    def _gathered(self, stored: pa.Table) -> pa.Table:
        """Return questions, given as they are in the files, as their pairs say them that are left."""
        part, row = (numbers(stored[name].combine_chunks().flatten()).astype(np.int64) for name in ("partition", "row"))
        found, of_part = [], [np.zeros(0, np.int64)]
        names = ["question_id", "question", "answers", "grounded", "pair_id"]
        for number in np.unique(part).tolist():
            rows = np.setdiff1d(row[part == number], self._gone[number])
            if not len(rows):
                continue
            pairs = self._read(QA_PAIRS, number, names).take(to_column(rows, pa.int64()))
            loses = pa.array(are_among(rows, self._kept[number]))
            grounded = pc.if_else(loses, pa.scalar(None, pa.bool_()), pairs["grounded"].combine_chunks())
            pairs = pairs.set_column(3, "grounded", grounded).append_column("row", to_column(rows, pa.int64()))
            found.append(pairs)
            of_part.append(np.full(len(rows), number))
        if not found:
            return stored
        pairs, numbered = pa.concat_tables(found).combine_chunks(), np.concatenate(of_part)
        order = np.argsort(numbers(pairs["question_id"]), kind="stable")
        return gather_questions(pairs.take(to_column(order, pa.int64())), numbered[order])

    def _without_passage(self) -> pa.Table:
        """Return the pairs that stay without their passage."""
        schema = spec_of(QA_PAIRS).schema
        found = [schema.empty_table()]
        for number, rows in enumerate(self._kept):
            if len(rows):
                found.append(self._read(QA_PAIRS, number, schema.names).take(to_column(rows, pa.int64())).cast(schema))
        pairs = pa.concat_tables(found)
        for name in _NO_PASSAGE:
            place = schema.get_field_index(name)
            pairs = pairs.set_column(place, schema.field(place), pa.nulls(len(pairs), schema.field(place).type))
        return _with_left_out(pairs)

    def _vectors(self, key: TableKey, ids: Int64s, texts: list[str]) -> pa.Table:
        """Return the vectors of questions together with their answers; those of the former corrections are kept."""
        encoder = self._manifest.encoders[key.name]
        prefix = encoder.settings.get("query_prefix") or ""
        text_ids = np.fromiter((hash_text(prefix + text) for text in texts), np.int64, len(texts))
        vectors = np.zeros((len(texts), encoder.dimension), np.float32)
        known = self._former.rows(key.label)
        stored = np.zeros(0, np.int64) if known is None else numbers(known["text_id"])
        order = np.argsort(stored)
        is_known = are_among(text_ids, stored[order])
        if known is not None and is_known.any():
            matrix: Float32s = numbers(known["vector"].combine_chunks().flatten()).reshape(-1, encoder.dimension)
            vectors[is_known] = matrix[order[np.searchsorted(stored[order], text_ids[is_known])]]
        new = np.flatnonzero(~is_known).tolist()
        if new:
            vectors[new] = self._memory.encoder(key.name).encode_queries([texts[number] for number in new])
        schema = spec_of(key).sized(encoder.dimension).schema
        arrow = pa.FixedSizeListArray.from_arrays(to_column(vectors.reshape(-1), pa.float32()), encoder.dimension)
        columns = [to_column(ids, pa.int64()), arrow, to_column(text_ids, pa.int64())]
        return _with_left_out(pa.table(columns, schema=schema))

    @cached_property
    def _memory(self) -> Memory:
        """The memory, which opens its encoders."""
        objects = {f"embed/{name}": encoder for name, encoder in self._passed.items()}
        return Memory.of(Snapshot(self._store, self._manifest), objects=objects)

    @cached_property
    def _former(self) -> Corrections:
        """The corrections of the snapshot before, where the manifest still has them."""
        entry = self._manifest.caches.get(CORRECTIONS.path)
        return Corrections(self._store, entry.partitions if entry is not None else ())

    def _read(self, key: TableKey, number: int, columns: list[str]) -> pa.Table:
        # Pages are checked as they are read.
        part = self._manifest.tables[key.label].partitions[number]
        return parquet.read(self._store.files.unchecked(part.file(".parquet")), columns=columns).select(columns)


def _with_left_out(rows: pa.Table) -> pa.Table:
    """Return rows that stay as corrections."""
    return rows.append_column(pa.field("left_out", pa.bool_(), nullable=False), pa.array(np.zeros(len(rows), np.bool_)))


def _empty(type_: pa.DataType, rows: int) -> list[Any]:
    return [[] if pa.types.is_list(type_) else "" if pa.types.is_string(type_) else 0] * rows
