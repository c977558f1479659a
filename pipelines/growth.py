"""Growth: shards of the current snapshot are kept, and rows that are new become further shards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.base import IndexStats, Span
from mnemodex.indexers.rows import Rows
from mnemodex.pipelines.unit import Draft, Starts, rest, unit_fingerprint
from mnemodex.schemas.errors import CorruptFileError
from mnemodex.schemas.steps import Each, Group
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import TableKey, table_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.unit import Results
    from mnemodex.schemas.manifest import Artifact, IndexEntry, Manifest
    from mnemodex.schemas.steps import Step
    from mnemodex.schemas.store.store import Store

FOLDED = 2
"""A shard of at most so many times the rows that come after it is built again together with them: a row is built again
a few times in all, and there are never more shards than the logarithm of the rows."""

SMALL = 256
"""A shard of no more rows is always built again: that is quicker than searching one more."""

Aligned = dict[str, list["Artifact"]]
"""Partitions by label, each followed by those of the same label."""


class Former:
    """The shards of one index in the current snapshot, whose manifest is given; the step builds them."""

    def __init__(self, step: Step, identity: str, manifest: Manifest, entry: IndexEntry, store: Store) -> None:
        self._step = step
        self._identity = identity
        self._shards = entry.shards
        self._tables = manifest.tables
        self._store = store
        self._how: Any = step.reads[0].how
        # The table of the first input, and those whose partitions are read along.
        self._keys = [read.table for read in step.reads if isinstance(read.how, Group | Each)]

    def keep(self, parts: Sequence[Artifact], results: Results) -> tuple[list[Artifact], Starts]:
        """Choose the shards that are kept.

        Those whose rows are all still where they were are, except for the last ones that are small compared with what
        follows them. The shards that are kept hold each partition from its first row on, up to some row or its end.

        Args:
            parts: the partitions of the table.
            results: of the build.

        Returns:
            The shards, and of each partition that they hold rows of, the first row in each input that is in none.
        """
        others = [{part.label: part for part in results.ready(key)} for key in self._keys[1:]]
        aligned = {part.label: [part, *(table[part.label] for table in others)] for part in parts}
        kept: list[tuple[Artifact, tuple[Span, ...]]] = []
        starts: Starts = {}
        for shard in self._shards:
            spans = shard.stats.of(IndexStats).spans
            if self._is_current(shard, spans, aligned, starts, results):
                kept.append((shard, spans))
                starts |= {span.label: span.stops for span in spans}
        kept, starts = fold(kept, starts, parts, self._how)
        return [shard for shard, _ in kept], starts

    def _is_current(
        self, shard: Artifact, spans: Sequence[Span], aligned: Aligned, starts: Starts, results: Results
    ) -> bool:
        """Whether a shard would be built so today, of rows that are where they were and follow those of `starts`."""
        none = (0,) * len(self._keys)
        # Readers look up the partitions of all spans, also of those without rows.
        if not spans or not all(span.label in aligned for span in spans):
            return False
        if any(span.starts != starts.get(span.label, none) for span in spans):
            return False
        same_size = shard.stats.of(IndexStats).shard_rows == self._how.rows
        if not same_size or self._name(shard, spans, results) != shard.fingerprint:
            return False
        for number in range(len(self._keys)):
            changed = [
                span
                for span in spans
                if span.starts != span.stops and aligned[span.label][number].fingerprint != span.fingerprints[number]
            ]
            if changed and not self._is_where_it_was(shard, number, changed, aligned, results):
                return False
        return self._store.whole(shard.place) is not None

    def _name(self, shard: Artifact, spans: Sequence[Span], results: Results) -> str:
        """Return the fingerprint that a shard of these rows has today."""
        inputs = [
            # Only the fingerprint of what is read counts.
            [shard.model_copy(update={"fingerprint": span.fingerprints[number]}) for span in spans]
            for number in range(len(self._keys))
        ]
        inputs += [list(results.ready(read.table)) for read in self._step.reads[len(inputs) :]]
        starts = {span.label: span.starts for span in spans if any(span.starts)}
        return unit_fingerprint(self._identity, self._step, Draft(shard.label, inputs, starts=starts))

    def _is_where_it_was(
        self, shard: Artifact, number: int, spans: Sequence[Span], aligned: Aligned, results: Results
    ) -> bool:
        """Whether rows of partitions that have changed have the ids that a shard has for them.

        Rows with equal ids are equal where one step made them, but of tables that say otherwise.
        """
        key = self._keys[number]
        spec = table_spec(key) if isinstance(key, TableKey) else None
        if (spec is not None and not spec.id_decides) or not results.id_decides(key):
            return False
        former = self._tables.get(key.label)
        if former is None or former.id_column is None or former.identity != results.identity(key):
            return False
        folder = self._store.files.path(shard.folder)
        try:
            for file in shard.files:
                if file.path.endswith((f"/{former.id_column}s.npy", "/partition.npy", "/row.npy", "/labels.json")):
                    self._store.files.local(file)
            rows = Rows.open(folder / key.label if number else folder, id_column=former.id_column)
            for span in spans:
                path = self._store.files.local(aligned[span.label][number].file(".parquet"))
                ids = parquet.column(path, former.id_column)
                inside = rows.partition == rows.labels.index(span.label)
                if not _has(ids, rows.row[inside], rows.ids[inside]):
                    return False
        except CorruptFileError:
            return False
        return True


def _has(ids: Int64s, rows: Int64s, expected: Int64s) -> bool:
    """Whether the ids at some rows are those expected."""
    return bool(rows.max(initial=-1) < len(ids) and np.array_equal(ids[rows], expected))


def fold(
    kept: Sequence[tuple[Artifact, tuple[Span, ...]]], starts: Starts, parts: Sequence[Artifact], how: Group
) -> tuple[list[tuple[Artifact, tuple[Span, ...]]], Starts]:
    """Give up the last shards that are small compared with the rows after them; a nearly full one never is.

    Args:
        kept: shards and the rows that they hold.
        starts: of each partition the first row that is in none of them.
        parts: all partitions.
        how: what a shard may hold.

    Returns:
        The shards that are left, and `starts` of these.
    """
    kept, starts = list(kept), dict(starts)
    by_label = {part.label: part for part in parts}
    rows = sum(rest(part, starts)[0] for part in parts)
    while kept and rows:
        spans = [span for span in kept[-1][1] if span.starts != span.stops]
        counts = [span.stops[0] - span.starts[0] for span in spans]
        held = sum(counts)
        size = sum(
            by_label[span.label].bytes * count // by_label[span.label].rows
            for span, count in zip(spans, counts, strict=True)
        )
        full = _is_full(held, how.rows) or (how.bytes is not None and _is_full(size, how.bytes))
        if full or held > max(FOLDED * rows, SMALL):
            break
        kept.pop()
        starts |= {span.label: span.starts for span in spans}
        rows += held
    return kept, starts


def _is_full(held: int, limit: int) -> bool:
    """Whether what would be built together with a shard before long is more than one may hold."""
    return held * (FOLDED + 1) > limit * FOLDED
