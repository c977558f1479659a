"""Find, take over or compute: the one loop that carries out a plan, for tables and indexes alike."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mnemodex.pipelines.engine import artifacts_of
from mnemodex.pipelines.entries import entry_of
from mnemodex.pipelines.ops.former import former_folder, write_former
from mnemodex.pipelines.plan import identity
from mnemodex.pipelines.unit import check_size, unit_fingerprint
from mnemodex.schemas.errors import MnemodexError, StageFailedError
from mnemodex.schemas.steps import Each, is_cache
from mnemodex.schemas.tables import TableKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.pipelines.engine import Engine
    from mnemodex.pipelines.messages import Answer
    from mnemodex.pipelines.plan import Plan
    from mnemodex.pipelines.progress import Progress
    from mnemodex.pipelines.results import BuildResults, StepResults
    from mnemodex.pipelines.run_files import RunFiles
    from mnemodex.pipelines.unit import Draft
    from mnemodex.schemas.manifest import Artifact, Manifest
    from mnemodex.schemas.store.store import Store


class Materializer:
    """Carries out a plan.

    Units become ready as their inputs do: a chunk partition is embedded while the next one is chunked. What is there
    under its fingerprint is not computed again.

    The former manifest is the current snapshot's.
    """

    def __init__(
        self,
        store: Store,
        plan: Plan,
        results: BuildResults,
        *,
        former: Manifest | None,
        files: RunFiles,
        progress: Progress,
    ) -> None:
        self._store = store
        self._plan = plan
        self._results = results
        self._former = former
        self._files = files
        self._progress = progress
        self._known: dict[str, list[Artifact]] = {}
        for artifacts in former.lists() if former is not None else ():
            artifacts.load()
            for part in artifacts:
                self._known.setdefault(part.fingerprint, []).append(part)
        self._drafts: dict[str, deque[tuple[Draft, str]]] = {}
        self._claimed: dict[str, list[tuple[StepResults, str]]] = {}

    @property
    def todo(self) -> dict[str, list[Draft]]:
        """The units that are ready to be computed, by step."""
        return {name: [draft for draft, _ in waiting] for name, waiting in self._drafts.items() if waiting}

    def find(self) -> None:
        """Find what is there, as far as that is known without computing anything, and judge complete steps.

        Raises:
            MnemodexError: nothing can be built of what a step gave.
        """
        moved = True
        while moved:
            moved = False
            for step in self._plan.unfold(self._results):
                moved = True
                self._drafts[step.name] = deque()
                # What is read of the source is what people call the documents, before any repeats are dropped.
                read = step.source and not (isinstance(step.result, TableKey) and step.result.scratch)
                cache = step.pass_through or (is_cache(step.result) and not read)
                self._progress.begin(step.name, cache=cache)
                self._results.add(step, identity(step))
            self._progress.waiting = len(self._plan.waiting)
            for results in self._results.steps.values():
                for draft in self._results.drafts(results):
                    moved = True
                    self._place(results, draft)
                if results.complete and results.warnings is None:
                    # Before what follows works on it, which may have been declared before it.
                    moved = True
                    with self._finishing(results):
                        results.warnings = results.op.complete(results)
                    self._progress.end(results.step.name, results.op.note(results))

    def compute(self, engine: Engine) -> None:
        """Carry the rest of the plan out.

        Raises:
            MnemodexError: a unit failed; what is finished stays published.
        """
        while True:
            self.find()
            self._submit(engine)
            if not engine.busy:
                break
            for answer in engine.wait(self._progress):
                self._take(answer)
        waiting = [name for name, step in self._results.steps.items() if not step.complete]
        if waiting or self._plan.waiting:
            names = ", ".join([*waiting, *self._plan.waiting])
            raise StageFailedError(f"internal error: the steps {names} wait for each other; please report it")

    def _submit(self, engine: Engine) -> None:
        for name, waiting in self._drafts.items():
            results = self._results.steps[name]
            while waiting:
                left = max(self._results.expected(results), len(results.labels)) - len(results.done)
                if not engine.has_room(results.step, left):
                    break
                draft, fingerprint = waiting.popleft()
                self._prepare(results)
                reads = results.step.reads
                rows = sum(part.rows for part in draft.inputs[0]) if reads and isinstance(reads[0].how, Each) else 0
                self._progress.todo(name, left, rows=rows)
                engine.submit(results.step, self._files.unit(results.step, draft, fingerprint))

    def _place(self, results: StepResults, draft: Draft) -> None:
        """Find the results of a unit, or note that it is to be computed."""
        step = results.step
        if draft.kept is None:
            check_size(step, draft)
        if step.pass_through and not any(part.part(draft.label) for parts in draft.inputs[1:] for part in parts):
            self._finished(results, draft.label, [draft.inputs[0][0]], computed=False)
            return
        rows = sum(part.rows for part in draft.inputs[0]) if draft.inputs else 0
        kept = draft.kept or self._results.lasting(results, rows)
        if kept is not None:
            also = [other for place in kept.also if (other := self._whole(place)) is not None]
            self._finished(results, draft.label, [kept, *also], computed=False)
            return
        name = unit_fingerprint(results.identity, step, draft)
        found = self._find(step.result.path, draft.label, name)
        if found is not None:
            self._finished(results, draft.label, found, computed=False)
        elif name in self._claimed:
            # Two indexes that differ only in what a search reads have one set of files.
            self._claimed[name].append((results, draft.label))
        else:
            self._claimed[name] = []
            self._drafts[step.name].append((draft, name))

    def _find(self, folder: str, label: str, name: str) -> list[Artifact] | None:
        """Return the results of a unit that are whole: in its own folder, or where the current snapshot has them."""
        # A renamed index or table finds its files where the current snapshot has them.
        former = [part.place for part in self._known.get(name, ())[:1]]
        for place in (f"{folder}/{label}-{name}", *former):
            artifact = self._whole(place)
            if artifact is None:
                continue
            also = [self._whole(other) for other in artifact.also]
            if None not in also:
                return [artifact, *(other for other in also if other is not None)]
        return None

    def _whole(self, place: str) -> Artifact | None:
        """Return the result of a place if it is whole: the current snapshot's own object, which a commit knows."""
        artifact = self._store.whole(place)
        known = self._known.get(artifact.fingerprint, ()) if artifact is not None else ()
        return next((part for part in known if part == artifact), artifact)

    def _prepare(self, results: StepResults) -> None:
        """Write what workers read of a step, before its first unit."""
        step = results.step
        if not self._files.add(step) or step.reuse is None:
            return
        former = entry_of(self._former, step.reuse_from or step.result)
        if former is None or former.identity != results.identity:
            return
        write_former(self._store, former_folder(self._files.run, step.name), former, step.reuse)
        for key in (*(read.table for read in step.reads), *step.writes[1:]):
            entry = entry_of(self._former, key)
            if entry is not None:
                write_former(self._store, former_folder(self._files.run, step.name, key.label), entry)

    def _take(self, answer: Answer) -> None:
        results = self._results.steps[answer.step]
        artifacts = artifacts_of(answer)
        self._finished(results, answer.label, artifacts, computed=True)
        for other, label in self._claimed.pop(artifacts[0].fingerprint, []):
            self._finished(other, label, artifacts, computed=False)

    def _finished(self, results: StepResults, label: str, artifacts: Sequence[Artifact], *, computed: bool) -> None:
        results.finish(label, artifacts)
        self._progress.done(results.step.name, label, artifacts[0], computed=computed)
        if artifacts[0].stats.errors:
            with self._finishing(results):
                results.op.check(results)

    @contextmanager
    def _finishing(self, results: StepResults) -> Iterator[None]:
        """Withdraw units with failures where the results of a step are refused, if another build may do better."""
        try:
            yield
        except MnemodexError:
            failed = [part for part in results.parts if part.stats.errors] if results.op.tries_again else []
            manifests = self._store.history(self._former) if failed and self._former is not None else ()
            named = {part.place for manifest in manifests for artifacts in manifest.lists() for part in artifacts}
            for part in failed:
                if part.place not in named:
                    self._store.withdraw(part)
            raise
