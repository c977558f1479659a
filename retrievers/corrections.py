"""Corrections: the rows of tables that change or go with what tombstones leave out: of a graph, and of questions."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers
from mnemodex.schemas.table import row_schema
from mnemodex.schemas.tables import ENTITIES, FACTS, MENTIONS, QA_PAIRS, QUESTIONS, TRIPLES, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.schemas.manifest import Artifact, TableEntry
    from mnemodex.schemas.store.store import Store
    from mnemodex.schemas.tables import TableKey

COUNTED = {"entity_id": ENTITIES.label, "fact_id": FACTS.label, "question_id": QUESTIONS.label}
"""The table of each id that is left out with its last chunk; its corrections say which are."""


def corrected_schema(key: TableKey) -> pa.Schema:
    """Return the columns of the corrections of a table: those of its rows, and whether one is left out."""
    return pa.schema([*spec_of(key).schema, *row_schema(left_out=pa.bool_())])


class CorrectionStats(Stats):
    """How many triples, mentions and pairs are left out."""

    triples: int = 0
    mentions: int = 0
    qa_pairs: int = 0


class Corrections:
    """The corrections of a snapshot, read when they are asked for; most have none.

    Raises:
        CorruptFileError: a file is missing or damaged.
    """

    def __init__(self, store: Store, parts: Iterable[Artifact]) -> None:
        self._store = store
        self._parts = list(parts)
        self.rows = lru_cache(maxsize=None)(self._rows)

    def _rows(self, label: str) -> pa.Table | None:
        """Return the corrected rows of a table, and in the column `left_out` whether each is left out."""
        if not self._parts:
            return None
        (part,) = self._parts
        path = f"{part.folder}/{label}.parquet"
        file = next((file for file in part.files if file.path == path), None)
        return parquet.read(self._store.files.local(file)) if file is not None else None

    def left_out(self, id_column: str) -> Int64s:
        """Return the ids of entities, facts or questions, one of `COUNTED`, that are left out, ascending."""
        rows = self.rows(COUNTED[id_column])
        return numbers(rows.filter(rows["left_out"])[id_column]) if rows is not None else np.zeros(0, np.int64)

    def count_left_out(self, table: TableEntry) -> int | None:
        """Return how many rows of a table are left out; None where corrections do not say."""
        if not self._parts:
            return None
        if table.id_column in COUNTED:
            return len(self.left_out(table.id_column))
        stats = self._parts[0].stats.of(CorrectionStats)
        counts = {TRIPLES.label: stats.triples, MENTIONS.label: stats.mentions, QA_PAIRS.label: stats.qa_pairs}
        if table.name in counts:
            return counts[table.name]
        rows = self.rows(table.name)
        return int(pc.sum(rows["left_out"]).as_py() or 0) if rows is not None else None
