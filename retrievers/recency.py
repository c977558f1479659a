"""Hits of another index, older ones with less weight."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import override

from mnemodex.indexers.combined_settings import RecencySettings
from mnemodex.retrievers.base import Retriever
from mnemodex.retrievers.hits import MISSING_ID, MISSING_SCORE, Reason
from mnemodex.retrievers.parts import chunk_retriever
from mnemodex.retrievers.reranking import best_first, moved
from mnemodex.schemas.ages import parse_age
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.metadata import TIME_TYPES

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Float64s
    from mnemodex.indexers.combined_settings import Ageing
    from mnemodex.retrievers.contiguity import ContiguityRetriever
    from mnemodex.retrievers.hits import Hits
    from mnemodex.retrievers.memory import Memory
    from mnemodex.schemas.manifest import IndexEntry

_MICROSECONDS = pa.timestamp("us")
_log = logging.getLogger("mnemodex")


class Recency:
    """Weighs hits by their age, and sorts them by it.

    What a hit is above the last of these hits is halved with every half-life, as memories age in HEMA (Ahn, 2025), but
    for its count of uses: a search writes nothing. Ages are counted from the newest time of the memory, so that an
    answer does not change by itself. A hit without a time is as old as the oldest hit of the question.

    Args:
        memory: of the hits.
        index: the name of the index that is searched.
        field: of documents, with their times.
        half_life: as a recipe writes it.

    Raises:
        QueryError: the field holds no times.
    """

    def __init__(self, memory: Memory, index: str, *, field: str, half_life: str) -> None:
        self._memory = memory
        self._index = index
        self._field = field
        self._half_life = parse_age(half_life).total_seconds() * 1e6
        fields = memory.snapshot.fields
        known = [name for name, kind in fields.items() if kind in TIME_TYPES]
        if field not in known:
            found = f"is of type {fields[field]}" if field in fields else "is no column of documents"
            raise QueryError(
                f"index {index!r}: field {field!r} {found}; name one of times "
                f"({', '.join(known) or 'there is none'}), or declare it: `source.metadata: {{{field}: timestamp}}`"
            )

    @classmethod
    def of(cls, memory: Memory, index: str, settings: Ageing | None) -> Self | None:
        """Return what settings ask for, if they do."""
        return None if settings is None else cls(memory, index, field=settings.field, half_life=settings.half_life)

    @cached_property
    def _newest(self) -> int | None:
        """The newest time of all documents, in microseconds; None where none has one."""
        name = self._field.replace('"', '""')
        without, newest = self._memory.sql(
            f'SELECT count(*) - count("{name}"), epoch_us(max("{name}")::TIMESTAMP) FROM documents'  # noqa: S608 - quoted
        ).fetchall()[0]
        if without:
            _log.warning(
                "index %r: %d documents have no %s; they count as old as a question's oldest hit",
                self._index,
                without,
                self._field,
            )
        return None if newest is None else int(newest)

    def weigh(self, found: Hits, k: int) -> Hits:
        """Return the best k hits of each question."""
        weights = self._weights(found)
        is_hit = found.ids != MISSING_ID
        scores = np.where(is_hit, found.scores, 0).astype(np.float64)
        lowest = np.min(scores, axis=1, initial=np.inf, where=is_hit, keepdims=True)
        lowest[~np.isfinite(lowest)] = 0
        aged = np.where(is_hit, lowest + (scores - lowest) * weights, MISSING_SCORE).astype(np.float32)
        hits, order = best_first(found, aged, k)

        def aged_by(query: int, place: int, score: float) -> Reason:
            return Reason("recency", f"weight {weights[query, place]:.3f} by age; was hit {place + 1}", score)

        return replace(hits, explain=partial(moved, found, hits, order, aged_by))

    def _weights(self, hits: Hits) -> Float64s:
        """Return the part of each hit's score that is left, float64 of shape (queries, k); 0 where there is no hit."""
        weights = np.zeros(hits.ids.shape)
        if self._newest is None:
            weights[hits.ids != MISSING_ID] = 1
            return weights
        times = hits.values(self._field).cast(_MICROSECONDS).cast(pa.int64())
        has_time = np.zeros(hits.ids.shape, bool)
        ages = np.full(hits.ids.shape, -np.inf)
        is_hit = hits.partition != MISSING_ID
        has_time[is_hit] = pc.is_valid(times).to_numpy()
        ages[is_hit] = self._newest - pc.fill_null(times, self._newest).to_numpy()
        oldest = np.max(ages, axis=1, initial=0, where=has_time, keepdims=True)
        ages = np.where(has_time, ages, oldest)
        weights[is_hit] = np.exp2(-ages[is_hit] / self._half_life)
        return weights


class RecencyRetriever(Retriever):
    """Weighs the first hits of another index by their age; see `Recency`.

    Attributes:
        name: the index's name.
        of: the retriever whose hits are weighed.
    """

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        self.name = entry.name
        settings = RecencySettings.model_validate(entry.settings)
        self._recency = Recency(memory, self.name, field=settings.field, half_life=settings.half_life)
        self._depth = settings.depth
        self.of = chunk_retriever(memory, settings.of)

    @property
    @override
    def near(self) -> ContiguityRetriever | None:
        return self.of.near

    @override
    def find(self, questions: list[str], k: int, where: str | None) -> Hits:
        return self._recency.weigh(self.of.search(questions, max(k, self._depth), where=where), k)
