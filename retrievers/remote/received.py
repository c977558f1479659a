"""Hits that a server sent, with the rows that they are read from."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from typing_extensions import override

from mnemodex.retrievers.hits import MISSING_ID, MISSING_SCORE, Hits, Reason
from mnemodex.retrievers.hits_json import ID_NAMES
from mnemodex.retrievers.metadata_fields import field_names
from mnemodex.retrievers.qa.hits import PairHits
from mnemodex.retrievers.row_source import RowSource
from mnemodex.schemas.errors import ServerError
from mnemodex.schemas.metadata import documents_spec
from mnemodex.schemas.store.columns import numbers, to_column, to_nullable
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS, spec_of
from mnemodex.schemas.typed_fields import TypedFields, metadata_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mnemodex.indexers.arrays import Array, Int64s

_LABELS = ("received",)
"""All rows are of one partition."""


class ReceivedRows(RowSource):
    """The chunks of hits and their documents, as a server sent them: a row for each hit that has a chunk.

    Args:
        snapshot: the name of the server's.
        fields: the columns of metadata, and the names of their types.
        hits: objects with the fields of a chunk.
    """

    def __init__(self, snapshot: str, fields: Mapping[str, str], hits: Sequence[Mapping[str, Any]]) -> None:
        self._snapshot = snapshot
        self._fields = fields
        self._hits = hits

    @property
    @override
    def name(self) -> str:
        return self._snapshot

    @property
    @override
    def fields(self) -> Mapping[str, str]:
        return self._fields

    @property
    @override
    def metadata_fields(self) -> list[str]:
        return sorted({name for hit in self._hits for name in field_names(hit["metadata"])})

    @override
    def column(self, table: str, label: str, name: str) -> Array:
        return numbers(self._column(table, name))

    @override
    def take(self, table: str, label: str, rows: Sequence[int] | Int64s, columns: Sequence[str]) -> pa.Table:
        schema = self._schemas[table]
        chosen = pa.schema([schema.field(name) for name in columns])
        wanted = to_column(rows, pa.int64())
        return pa.Table.from_arrays([self._column(table, name).take(wanted) for name in columns], schema=chosen)

    @cached_property
    def _schemas(self) -> dict[str, pa.Schema]:
        return {CHUNKS.label: spec_of(CHUNKS).schema, DOCUMENTS.label: documents_spec(self._fields).schema}

    def _column(self, table: str, name: str) -> pa.Array:
        dtype = self._schemas[table].field(name).type
        if table == DOCUMENTS.label and name in self._fields:
            return to_nullable(self._typed[name], dtype)
        values: Iterable[Any] = (hit[name] for hit in self._hits)
        if name == "metadata":
            values = map(metadata_text, values)
        # Ids are strings in JSON.
        return to_column(list(map(int, values)) if pa.types.is_integer(dtype) else list(values), dtype)

    @cached_property
    def _typed(self) -> dict[str, tuple[Any, ...]]:
        """The values of each column of metadata."""
        typed = TypedFields(self._fields, strict=False)
        rows = [typed.convert(hit["metadata"]) for hit in self._hits]
        return dict(zip(self._fields, zip(*rows, strict=True) if rows else [()] * len(self._fields), strict=True))


def read_hits(bodies: Sequence[Mapping[str, Any]], kind: str, k: int) -> Hits:
    """Return the hits of the answers to a search, of as many queries as these have together.

    Raises:
        ServerError: the snapshot changed from one answer to the next.
    """
    snapshot = same_snapshot(bodies)
    answers: list[list[Mapping[str, Any]]] = [row for body in bodies for row in body["hits"]]
    shape = (len(answers), k)
    ids, scores = np.full(shape, MISSING_ID, np.int64), np.full(shape, MISSING_SCORE, np.float32)
    partition, row = np.full(shape, MISSING_ID, np.int32), np.full(shape, MISSING_ID, np.int64)
    with_chunk: list[Mapping[str, Any]] = []
    name = ID_NAMES[kind]
    for query, hits in enumerate(answers):
        for column, hit in enumerate(hits):
            ids[query, column], scores[query, column] = int(hit[name]), hit["score"]
            if hit["chunk_id"] is not None:
                partition[query, column], row[query, column] = 0, len(with_chunk)
                with_chunk.append(hit)
    source = ReceivedRows(snapshot, bodies[0]["fields"], with_chunk)
    if kind != "pair":
        return Hits(ids, scores, partition, row, _LABELS, source, kind=kind)
    return PairHits(
        ids, scores, partition, row, _LABELS, source, kind=kind, read=partial(_read_pairs, _pairs_by_id(answers))
    )


def read_reasons(bodies: Sequence[Mapping[str, Any]]) -> list[list[list[Reason]]]:
    """Return the evidence for every hit of the answers to a search that asks for it."""
    return [
        [[Reason(**reason) for reason in hit["reasons"]] for hit in hits] for body in bodies for hits in body["hits"]
    ]


def same_snapshot(bodies: Sequence[Mapping[str, Any]]) -> str:
    """Return the name of the snapshot that answered; raise `ServerError` where there were several."""
    names = list(dict.fromkeys(str(body["snapshot"]) for body in bodies))
    if len(names) > 1:
        raise ServerError(
            f"snapshot {names[1]} took the place of {names[0]} on the server while it was asked. Ask again"
        )
    return names[0]


def _pairs_by_id(answers: Iterable[Iterable[Mapping[str, Any]]]) -> dict[int, tuple[str, list[str]]]:
    return {int(hit["question_id"]): (hit["question"], hit["answers"]) for hits in answers for hit in hits}


def _read_pairs(pairs: Mapping[int, tuple[str, list[str]]], ids: Int64s) -> pa.Table:
    """Return the columns `question` and `answers` of questions."""
    questions, answers = zip(*(pairs[number] for number in ids.tolist()), strict=True) if len(ids) else ((), ())
    texts = to_nullable(answers, pa.list_(pa.string()))
    return pa.table({"question": to_column(list(questions), pa.string()), "answers": texts})
