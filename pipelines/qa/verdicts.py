"""Verdicts of a filter on candidates: what its reader answers, and why a candidate is no pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemodex.retrievers.readers.answers import exact_match
from mnemodex.schemas.errors import NoAnswerError
from mnemodex.schemas.store.columns import numbers, to_column
from mnemodex.schemas.tables import QA_CANDIDATES, spec_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.ops.former import Former

OTHERWISE = "the reader answers otherwise"
NO_ANSWER = "the reader finds no answer"
FAILED = "the reader fails: "
AWAY = "; the chunk is not among the passages"
"""Follows a reason of the global filter."""
VERDICTS = pa.schema(
    [
        pa.field("pair_id", pa.int64(), nullable=False),
        pa.field("predicted", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("near", pa.bool_()),
    ]
)
"""What a filter found: the reader's answer, why the candidate is no pair, and whether its chunk was among the passages;
null where that is not known."""


def reason_of(predicted: str | NoAnswerError | None, answer: str, *, near: bool | None) -> str | None:
    """Return why a candidate with an answer is no pair, as a reader answers its question; None for one that is.

    `near` is whether its chunk was among the passages that were searched, None where none were.
    """
    away = "" if near is None or near else AWAY
    if isinstance(predicted, NoAnswerError):
        return f"{FAILED}{predicted}{away}"
    if predicted is None:
        return NO_ANSWER + away
    return None if exact_match(predicted, [answer]) else OTHERWISE + away


def former_verdicts(former: Former, ids: Int64s) -> pa.Table:
    """Return the verdicts of the current snapshot on candidates; what a reader failed at is tried again."""
    if not former or not len(ids):
        return pa.Table.from_batches([], VERDICTS)
    rows = former.take(ids, spec_of(QA_CANDIDATES).schema)
    said = (pc.starts_with(rows["reason"], reason).fill_null(False) for reason in (OTHERWISE, NO_ANSWER))
    judged = rows.filter(pc.or_(pc.or_(*said), rows["kept"]))
    near = pa.nulls(len(judged), pa.bool_())
    return judged.select(["pair_id", "predicted", "reason"]).append_column("near", near).cast(VERDICTS)


def to_verdicts(
    rows: pa.Table, predicted: Sequence[str | NoAnswerError | None], near: list[bool | None]
) -> pa.RecordBatch:
    """Return the verdicts on some candidates, as a reader answers their questions."""
    judged = zip(predicted, rows["answer"].to_pylist(), near, strict=True)
    reasons = [reason_of(text, answer, near=known) for text, answer, known in judged]
    texts = [text if isinstance(text, str) else None for text in predicted]
    columns = [rows["pair_id"].combine_chunks(), texts, reasons, near]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, VERDICTS, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=VERDICTS)


def verdicts_of(verdicts: pa.Table, ids: Int64s) -> pa.Table:
    """Return the verdict on each candidate; of one that two tries judged, the first one."""
    unique, first = np.unique(numbers(verdicts["pair_id"]), return_index=True)
    return verdicts.take(to_column(first[np.searchsorted(unique, ids)], pa.int64())).combine_chunks()


def with_verdicts(candidates: pa.Table, rows: Int64s, verdicts: pa.Table) -> pa.Table:
    """Return candidates, some rows of them with their verdicts."""
    place = np.full(len(candidates), -1, np.int64)
    place[rows] = np.arange(len(rows))
    places = pa.array(place, mask=place < 0)
    judged = pa.array(place >= 0)
    predicted = verdicts["predicted"].combine_chunks().take(places)
    said = verdicts["reason"].combine_chunks().take(places)
    columns = {
        "predicted": predicted,
        "kept": pc.and_(judged, pc.is_null(said)),
        "reason": pc.if_else(judged, said, candidates["reason"].combine_chunks()),
    }
    for name, column in columns.items():
        number = candidates.schema.get_field_index(name)
        candidates = candidates.set_column(number, candidates.schema.field(number), column)
    return candidates
