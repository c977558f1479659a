"""One build of a memory: plan, compute what is missing, commit."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mnemodex.pipelines.caller import shared_spool, spooled
from mnemodex.pipelines.cluster import check_address
from mnemodex.pipelines.declarations import declarations
from mnemodex.pipelines.documents.changes import ChangeLog
from mnemodex.pipelines.documents.kept import kept_documents
from mnemodex.pipelines.documents.masking import with_tombstones
from mnemodex.pipelines.documents.typed import inferred_columns
from mnemodex.pipelines.engine import choose_engine, estimate
from mnemodex.pipelines.entries import declared_tables, low_recall, make_manifest, over_budget
from mnemodex.pipelines.materialize import Materializer
from mnemodex.pipelines.outcome import BuildResult
from mnemodex.pipelines.plan import Plan
from mnemodex.pipelines.results import BuildResults
from mnemodex.pipelines.run_files import RunFiles
from mnemodex.pipelines.source_plan import leftovers, plan_source
from mnemodex.pipelines.trial import try_models, try_recognition
from mnemodex.pipelines.unchanged import UpToDate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnemodex.pipelines.caller import Passed
    from mnemodex.pipelines.engine import Place
    from mnemodex.pipelines.progress import Progress
    from mnemodex.pipelines.source_plan import SourcePlan
    from mnemodex.schemas.manifest import Artifact, Manifest
    from mnemodex.schemas.recipe import Recipe
    from mnemodex.schemas.steps import SourceUnit
    from mnemodex.schemas.store.store import Store


@dataclass(frozen=True, slots=True)
class Revision:
    """What a change makes of a memory, whose source is not read.

    Attributes:
        log: the change log that the new snapshot has.
        rewritten: partitions of documents as they were read, by the places of those that they take the place of.
        tombstones: of the new snapshot; what they name stays in its files.
        keep_shards: whether indexes keep the current snapshot's shards, and grow by further ones.
    """

    log: ChangeLog
    rewritten: Mapping[str, Artifact] = field(default_factory=dict)
    tombstones: tuple[Artifact, ...] = ()
    keep_shards: bool = True


class Run:
    """One build of a memory whose lock is held, or the plan of one; with what the caller of `build` passed.

    Args:
        store: the memory.
        recipe: what is built.
        progress: follows it.
        passed: by the caller of `build`.
        revision: what is built where the source is not read; by default it is, and the current change log after it.
        forget_deletions: whether that is without its deletions.
    """

    def __init__(
        self,
        store: Store,
        recipe: Recipe,
        progress: Progress,
        passed: Passed,
        *,
        revision: Revision | None = None,
        forget_deletions: bool = False,
    ) -> None:
        self._started = time.perf_counter()
        self._store, self._recipe, self._passed, self._progress = store, recipe, passed, progress
        # What this build writes there may be needed when it is no longer the only one.
        self._leftovers = list(leftovers(store))
        self._former = store.found()
        former = ChangeLog.of(self._former)
        self._log = former.without_deletions(store) if forget_deletions else former
        self._revision = revision
        self._tombstones = revision.tombstones if revision is not None else ()
        if revision is not None:
            self._log = revision.log
        self._same_log = self._log == former
        self._up_to_date = UpToDate(store, recipe, self._former)
        self._files = RunFiles(store, declared_tables(recipe))

    def unchanged(self) -> BuildResult | None:
        """Return what a build gives that has nothing to do, where that is known without a plan."""
        outcome = self._up_to_date.outcome() if self._same_log else None
        if outcome is None:
            return None
        result = self._result(self._former, committed=False)
        result.steps, result.warnings = outcome
        return result

    def plan(self, place: Place) -> BuildResult:
        """Return what is there and what would be computed."""
        self._begin(place)
        self._work.find()
        units = {}
        for name, step in self._results.steps.items():
            there = len(step.done)
            # A step that mostly gives its inputs back computes what is found out on the way.
            units[name] = 0 if step.step.pass_through else self._results.expected(step) - there
        self._progress.plan(units, self._plan.waiting)
        result = self._result(self._former, committed=False)
        result.planned = True
        return result

    def run(self, place: Place) -> BuildResult:
        """Compute what is missing, and commit."""
        self._begin(place)
        self._work.find()
        probed = self._probe()
        engine = None
        if self._work.todo or self._plan.waiting:
            work = estimate(self._results, self._work.todo)
            engine = choose_engine(self._store, self._files.run, work, place=place, objects=self._passed.objects)
            try:
                self._work.compute(engine)
            finally:
                engine.close()
        warnings = [*probed, *self._warnings]
        warnings += [warning for step in self._results.steps.values() for warning in step.warnings or ()]
        # Compared by its list files, most of which are the same.
        made = make_manifest(self._recipe, self._results, self._log)
        made = with_tombstones(self._store, made, self._tombstones, self._passed.encoders)
        manifest = self._store.listed(made, self._former)
        warnings += low_recall(manifest.indexes) + over_budget(manifest.indexes)
        changed = self._former is None or not manifest.same_files(self._former)
        current = self._store.commit(manifest, former=self._former) if changed else self._former
        assert current is not None  # noqa: S101 - without a former snapshot something has changed
        for path in self._leftovers:
            if self._source is not None and not self._source.has(path):
                self._store.files.delete(path)
        result = self._result(current, committed=changed)
        result.warnings = warnings
        if engine is not None:
            result.engine, result.start_seconds = engine.name, engine.start_seconds
        if self._source is not None:
            self._up_to_date.remember(current, result)
        return result

    def _probe(self) -> list[str]:
        """Try the models and ask the servers of the steps that are not complete; return warnings."""
        steps = [step for step in self._results.steps.values() if not step.complete]
        try_models(steps, self._former, self._store)
        warnings = [warning for step in steps for warning in step.op.probe(step.step.settings, self._store)]
        return warnings + try_recognition(self._recipe.indexes, self._former)

    def _begin(self, place: Place) -> None:
        # Before a large source is looked through.
        check_address(place.address)
        recipe = self._recipe
        if self._passed.source is not None:
            recipe = spooled(recipe, self._passed.source, self._store.files.scratch / self._files.run)
            recipe = shared_spool(recipe, self._store, self._files.run)
        self._results = BuildResults(
            recipe, self._store, self._former, keep_shards=self._revision is None or self._revision.keep_shards
        )
        units, fields = self._documents(recipe, place)
        tombstones = [part.place for part in self._tombstones]
        self._plan = Plan(declarations(recipe, (*units, *self._log.units), fields, tombstones, self._log.purges))
        self._work = Materializer(
            self._store, self._plan, self._results, former=self._former, files=self._files, progress=self._progress
        )

    def _documents(self, recipe: Recipe, place: Place) -> tuple[Sequence[SourceUnit], Mapping[str, str]]:
        """Return the splits of the source and the inferred types of metadata; a change takes both over."""
        self._source: SourcePlan | None = None
        self._warnings: list[str] = []
        kept = kept_documents(self._store, recipe, self._former) if self._revision is not None else None
        if self._revision is not None and kept is not None:
            units, fields = kept
            rewritten = self._revision.rewritten
            return [replace(unit, kept=rewritten.get(unit.data, unit.kept)) for unit in units], fields
        self._source = plan_source(self._store, recipe, place=place, files=self._files, progress=self._progress)
        fields, left = inferred_columns(self._store, recipe, self._source.units, self._former)
        again = (
            ["the source was read again: what the snapshot has of it is damaged, or of another version"]
            if self._revision is not None
            else []
        )
        self._warnings = [*again, *self._source.warnings, *left]
        return self._source.units, fields

    def close(self) -> None:
        """End the display, and remove the files of the run."""
        self._progress.close()
        self._files.remove()

    def _result(self, current: Manifest | None, *, committed: bool) -> BuildResult:
        seconds = time.perf_counter() - self._started
        name = current.name if current is not None else None
        return BuildResult(self._store.root, name, committed, self._progress.reports, seconds)
