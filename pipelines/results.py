"""What the steps of a build have given so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow.compute as pc
from typing_extensions import override

from mnemodex.indexers.base import IndexStats
from mnemodex.indexers.models.hashes import digest_of
from mnemodex.pipelines.bad_row import LEFT_OUT
from mnemodex.pipelines.contents import content_of
from mnemodex.pipelines.growth import Former
from mnemodex.pipelines.ops.base import Finished
from mnemodex.pipelines.plan import PlanContext, Unfinished
from mnemodex.pipelines.unit import Cutter, Results
from mnemodex.schemas.kinds import load
from mnemodex.schemas.manifest import Artifact, Stats
from mnemodex.schemas.steps import Each, Group, IndexKey, Pieces, Range
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.pipelines.ops.base import Op, Stage
    from mnemodex.pipelines.unit import Draft
    from mnemodex.schemas.manifest import Manifest
    from mnemodex.schemas.recipe import Recipe
    from mnemodex.schemas.spec import ModelRef
    from mnemodex.schemas.steps import Key, Step
    from mnemodex.schemas.store.store import Store


LASTING = 512
"""What was trained on fewer rows is trained again whenever they change. Of vectors of MiniLM, SQ8 that was trained on
512 of 2,048 has recall@10 .991, on all .996; on 256 of 1,024 .982 and .995, on 26 of 104 .943 and .996."""


@dataclass
class StepResults(Finished):
    """The results of one step.

    Attributes:
        identity: hash of what the step does.
        former: the current snapshot.
        keep_shards: whether its shards are kept.
        labels: the labels of all known units, in order.
        done: the first result of each finished unit, by label.
        also: the other results, by key and label.
        warnings: of the complete step; None before it is complete.
    """

    step: Step
    identity: str
    store: Store
    former: Manifest | None = None
    keep_shards: bool = True
    labels: list[str] = field(default_factory=list)
    done: dict[str, Artifact] = field(default_factory=dict)
    also: dict[Key, dict[str, Artifact]] = field(default_factory=dict)
    warnings: list[str] | None = None
    _ready: dict[Key, tuple[int, list[Artifact]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cutter = Cutter(self.step, self._former_shards())

    @cached_property
    def op(self) -> type[Op | Stage]:
        """The class of what computes its units."""
        op: type[Op | Stage] = load(self.step.op)
        return op

    @property
    def complete(self) -> bool:
        """Whether all units are finished."""
        return self.cutter.done and len(self.done) == len(self.labels)

    @property
    @override
    def parts(self) -> list[Artifact]:
        return [self.done[label] for label in self.labels if label in self.done]

    @property
    @override
    def rows(self) -> int:
        return sum(part.rows for part in self.done.values())

    def _former_shards(self) -> Former | None:
        key, former = self.step.result, self.former
        entry = former.indexes.get(key.index) if former is not None and isinstance(key, IndexKey) else None
        if not (self.keep_shards and self.step.grows) or former is None or entry is None:
            return None
        # Other tables have rows of the same ids.
        if entry.table != self.step.reads[0].table.label:
            return None
        return Former(self.step, self.identity, former, entry, self.store)

    def ready(self, key: Key) -> Sequence[Artifact]:
        """Return the results of one key in the order of the units, as far as there is no gap."""
        # Called after every unit, so the list grows instead of being made again.
        number, ready = self._ready.get(key, (0, []))
        artifacts = self.results(key)
        while number < len(self.labels) and self.labels[number] in self.done:
            if self.labels[number] in artifacts:
                ready.append(artifacts[self.labels[number]])
            number += 1
        self._ready[key] = number, ready
        return ready

    def results(self, key: Key) -> dict[str, Artifact]:
        """Return the results of one key by label."""
        return self.done if key == self.step.result else self.also.get(key, {})

    def finish(self, label: str, artifacts: Sequence[Artifact]) -> None:
        """Keep the results of a unit, the first one first."""
        self.done[label] = artifacts[0]
        for artifact in artifacts[1:]:
            key = next(key for key in self.step.writes[1:] if artifact.place.startswith(f"{key.path}/"))
            self.also.setdefault(key, {})[label] = artifact

    def errors(self) -> list[Artifact]:
        """Return the partitions of rows that were left out, in the order of the units."""
        artifacts = self.also.get(ERRORS, {})
        return [artifacts[label] for label in self.labels if label in artifacts]

    @override
    def first_error(self) -> str:
        for part in self.errors():
            rows = parquet.read(self.store.files.local(part.file(".parquet")))
            # What was left out on purpose is no error.
            for row in rows.filter(pc.not_equal(rows["stage"], LEFT_OUT)).slice(0, 1).to_pylist():
                return f": {row['source']} line {row['line']}: {row['reason']}"
        return ""


class BuildResults(PlanContext, Results):
    """The results of all steps, by key; the former manifest is the current snapshot's."""

    def __init__(
        self, recipe: Recipe, store: Store, former: Manifest | None = None, *, keep_shards: bool = True
    ) -> None:
        self.recipe = recipe
        self._keep_shards = keep_shards
        self._store = store
        self._former = former
        self.steps: dict[str, StepResults] = {}
        self._by_key: dict[Key, StepResults] = {}

    def add(self, step: Step, identity: str) -> StepResults:
        """Begin to gather the results of a step."""
        results = self.steps[step.name] = StepResults(step, identity, self._store, self._former, self._keep_shards)
        for key in step.writes:
            if key != ERRORS:
                self._by_key[key] = results
        return results

    @override
    def digest(self, name: str, ref: ModelRef) -> str:
        return digest_of(name, ref)

    @override
    def content(self, path: str) -> str:
        return content_of(self._store, path)

    def has(self, key: Key) -> bool:
        """Whether a step makes this result."""
        return key in self._by_key

    @override
    def ready(self, key: Key) -> Sequence[Artifact]:
        return self._by_key[key].ready(key) if key in self._by_key else []

    @override
    def find(self, key: Key, label: str) -> Artifact | None:
        return self._by_key[key].results(key).get(label) if key in self._by_key else None

    @override
    def complete(self, key: Key) -> bool:
        return key in self._by_key and self._by_key[key].complete

    @override
    def rows(self, key: Key) -> int:
        return sum(part.rows for part in self._finished(key))

    @override
    def stats(self, key: Key) -> Stats:
        parts = self._finished(key)
        return next((part.stats for part in parts if part.rows), parts[0].stats if parts else Stats())

    @override
    def planned_rows(self, index: str) -> int:
        entry = self._former.indexes.get(index) if self._former is not None and self._keep_shards else None
        return next((shard.stats.of(IndexStats).planned_rows for shard in entry.shards), 0) if entry else 0

    def lasting(self, results: StepResults, rows: int) -> Artifact | None:
        """Return the current snapshot's result of a step, if it outlasts its input of so many rows; see `Step.lasts`.

        It does not outlast another way to make the rows: vectors of another model have other clusters.
        """
        step, former = results.step, self._former
        if former is None or not step.lasts:
            return None
        entry, table = former.caches.get(step.result.label), former.tables.get(step.reads[0].table.label)
        if entry is None or entry.identity != results.identity or not entry.partitions:
            return None
        if table is None or table.identity != self.identity(step.reads[0].table):
            return None
        (made,) = entry.partitions
        outlasts = made.stats.rows_read >= LASTING and rows < step.lasts * made.stats.rows_read
        return self._store.whole(made.place) if outlasts else None

    def artifacts(self, key: Key) -> list[Artifact]:
        """Return all artifacts of a finished result, in order."""
        return list(self._finished(key))

    @override
    def identity(self, key: Key) -> str:
        return self._by_key[key].identity

    @override
    def id_decides(self, key: Key) -> bool:
        return self._by_key[key].step.id_decides

    def expected(self, results: StepResults) -> int:
        """Return how many units a step will have, as far as that is known: at least one."""
        if results.cutter.done:
            return len(results.labels)
        how = results.step.reads[0].how
        if isinstance(how, Range):
            return how.buckets
        upstream = self._by_key.get(results.step.reads[0].table)
        if upstream is None or not isinstance(how, Each | Pieces | Group):
            return 1
        if not isinstance(how, Group):
            return self.expected(upstream)
        # Groups to come have as many partitions as those that are known.
        known, given = len(results.labels), results.cutter.given
        return max(1, -(-self.expected(upstream) * known // given)) if given else 1

    def drafts(self, step: StepResults) -> Iterator[Draft]:
        """Yield the units of a step that can be made now, and keep their labels."""
        for draft in step.cutter.more(self):
            step.labels.append(draft.label)
            yield draft

    def errors(self) -> Iterator[Artifact]:
        """Yield the partitions of rows that were left out."""
        for step in self.steps.values():
            yield from step.errors()

    def _finished(self, key: Key) -> Sequence[Artifact]:
        if not self.complete(key):
            raise Unfinished
        return self.ready(key)
