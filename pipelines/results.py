"""What the steps of a build have given so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mnemodex.indexers.models.hashes import digest_of
from mnemodex.pipelines.plan import Unfinished
from mnemodex.pipelines.source_plan import content_of
from mnemodex.pipelines.unit import Cutter
from mnemodex.schemas.manifest import Artifact, Stats
from mnemodex.schemas.steps import Each, Pieces, Range
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.pipelines.unit import Draft
    from mnemodex.schemas.recipe import Recipe
    from mnemodex.schemas.spec import ModelRef
    from mnemodex.schemas.steps import Key, Step
    from mnemodex.schemas.store.store import Store


@dataclass
class StepResults:
    """The results of one step: see `Finished`.

    Attributes:
        step: the step.
        identity: hash of what it does.
        labels: the labels of all units that are known, in order.
        done: the first result of each finished unit, by label.
        also: the other results, by key, in the order in which they were finished.
        computed: units that this build computed.
        warnings: what a user should know of the complete step; None before it is complete.
    """

    step: Step
    identity: str
    store: Store
    labels: list[str] = field(default_factory=list)
    done: dict[str, Artifact] = field(default_factory=dict)
    also: dict[Key, dict[str, Artifact]] = field(default_factory=dict)
    computed: list[Artifact] = field(default_factory=list)
    warnings: list[str] | None = None
    _ready: dict[Key, tuple[int, list[Artifact]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cutter = Cutter(self.step)

    @property
    def complete(self) -> bool:
        """Whether all of its units are finished."""
        return self.cutter.done and len(self.done) == len(self.labels)

    @property
    def parts(self) -> list[Artifact]:
        """The finished first results, in order."""
        return [self.done[label] for label in self.labels if label in self.done]

    @property
    def rows(self) -> int:
        """Rows of them."""
        return sum(part.rows for part in self.done.values())

    def ready(self, key: Key) -> Sequence[Artifact]:
        """Return the results of one key in the order of the units, as far as there is no gap."""
        # It is asked for again after every unit, so it grows instead of being made anew.
        passed, found = self._ready.get(key, (0, []))
        made = self.done if key == self.step.result else self.also.get(key, {})
        while passed < len(self.labels) and self.labels[passed] in self.done:
            if self.labels[passed] in made:
                found.append(made[self.labels[passed]])
            passed += 1
        self._ready[key] = passed, found
        return found

    def finish(self, label: str, artifacts: Sequence[Artifact]) -> None:
        """Keep the results of a unit, the first one first."""
        self.done[label] = artifacts[0]
        for artifact in artifacts[1:]:
            key = next(key for key in self.step.writes[1:] if artifact.place.startswith(f"{key.path}/"))
            self.also.setdefault(key, {})[label] = artifact

    def others(self, key: Key) -> list[Artifact]:
        """Return the further results of one key, in the order of the units."""
        found = self.also.get(key, {})
        return [found[label] for label in self.labels if label in found]

    def first_error(self) -> str:
        """Return where the first row that was left out is, and why, as the end of a sentence."""
        for part in self.others(ERRORS):
            row = parquet.read(self.store.files.check(part.file(".parquet"))).slice(0, 1).to_pylist()[0]
            return f": {row['source']} line {row['line']}: {row['reason']}"
        return ""


class BuildResults:
    """The results of all steps by key; see `Results` and `PlanContext`.

    Args:
        recipe: what is built.
        store: the memory.
    """

    def __init__(self, recipe: Recipe, store: Store) -> None:
        self.recipe = recipe
        self._store = store
        self.steps: dict[str, StepResults] = {}
        self._by_key: dict[Key, StepResults] = {}

    def add(self, step: Step, identity: str) -> StepResults:
        """Begin to gather the results of a step."""
        made = self.steps[step.name] = StepResults(step, identity, self._store)
        for key in step.writes:
            if key != ERRORS:
                self._by_key[key] = made
        return made

    def digest(self, name: str, ref: ModelRef) -> str:
        """See `PlanContext`."""
        return digest_of(name, ref)

    def content(self, path: str) -> str:
        """See `PlanContext`."""
        return content_of(self._store, path)

    def has(self, key: Key) -> bool:
        """Whether a step makes this result."""
        return key in self._by_key

    def ready(self, key: Key) -> Sequence[Artifact]:
        """See `Results`."""
        found = self._by_key.get(key)
        if found is None:
            return []
        return found.ready(key)

    def find(self, key: Key, label: str) -> Artifact | None:
        """See `Results`."""
        found = self._by_key.get(key)
        if found is None:
            return None
        return found.done.get(label) if key == found.step.result else found.also.get(key, {}).get(label)

    def complete(self, key: Key) -> bool:
        """See `Results`."""
        return key in self._by_key and self._by_key[key].complete

    def rows(self, key: Key) -> int:
        """See `PlanContext`."""
        return sum(part.rows for part in self._finished(key))

    def stats(self, key: Key) -> Stats:
        """See `PlanContext`."""
        parts = self._finished(key)
        return next((part.stats for part in parts if part.rows), parts[0].stats if parts else Stats())

    def artifacts(self, key: Key) -> list[Artifact]:
        """Return all artifacts of a finished result, in order."""
        return list(self._finished(key))

    def identity(self, key: Key) -> str:
        """Return the hash of the step that makes a result."""
        return self._by_key[key].identity

    def expected(self, results: StepResults) -> int:
        """Return how many units a step will have, as far as that can be told: at least one."""
        if results.cutter.done:
            return len(results.labels)
        how = results.step.reads[0].how
        if isinstance(how, Range):
            return how.buckets
        upstream = self._by_key.get(results.step.reads[0].table)
        return self.expected(upstream) if isinstance(how, Each | Pieces) and upstream is not None else 1

    def errors(self) -> Iterator[Artifact]:
        """Yield the partitions of rows that were left out."""
        for step in self.steps.values():
            yield from step.others(ERRORS)

    def _finished(self, key: Key) -> Sequence[Artifact]:
        if not self.complete(key):
            raise Unfinished
        return self.ready(key)


def drafts(results: BuildResults, step: StepResults) -> Iterator[Draft]:
    """Yield the units of a step that can be made now, and note their labels."""
    for draft in step.cutter.more(results):
        step.labels.append(draft.label)
        yield draft
