"""The estimate: what a build of N documents takes, part by part, from a calibration."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mnemodex.indexers.vector_settings import VectorSettings
from mnemodex.pipelines.planner.laws import Estimate, Point, power, predict, root, spread, total
from mnemodex.pipelines.planner.layout import partition_rows, shard_sizes
from mnemodex.pipelines.planner.vector_laws import plan_vectors
from mnemodex.pipelines.planner.vectors import rows_of
from mnemodex.schemas.kinds import KINDS, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.pipelines.planner.figures import Calibration, ResultCost, TrialBuild
    from mnemodex.pipelines.planner.machine import Machine
    from mnemodex.schemas.recipe import Recipe


_HASHED = 3
"""How often a byte is hashed: when it is published, and when those that follow and an index read it."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one result of a build takes.

    Attributes:
        name: its label.
        kind: a table, an index, an intermediate result, or the work between all of them.
        rows: of it.
        units: partitions or shards.
        bytes: on the disk.
        cpu: CPU seconds of all processes.
        memory: bytes of the largest unit's process, roughly.
        bounded: whether that memory has a bound: a partition or shard is of so many rows at most.
        layout: which index over vectors it is.
        search: CPU seconds of a query in a batch, of an index that was searched.
    """

    name: str
    kind: str
    rows: int
    units: int
    bytes: Estimate
    cpu: Estimate
    memory: int = 0
    bounded: bool = True
    layout: str = ""
    search: Estimate | None = None


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """What a build of N documents takes.

    Attributes:
        documents: N.
        extrapolation: N by the documents of the largest build of the calibration.
        parts: of it.
        partitions: of the documents.
    """

    documents: int
    extrapolation: float
    parts: list[Part]
    partitions: int = 0

    @property
    def bytes(self) -> Estimate:
        """Bytes of all parts."""
        return total(part.bytes for part in self.parts)

    @property
    def cpu(self) -> Estimate:
        """CPU seconds of all parts."""
        return total(part.cpu for part in self.parts)

    def of(self, *kinds: str) -> list[Part]:
        """Return the parts of some kinds."""
        return [part for part in self.parts if part.kind in kinds]


def estimate(recipe: Recipe, calibration: Calibration, documents: int, machine: Machine) -> BuildPlan:
    """Return what a build of so many documents takes, on machines of a size."""
    return _Estimator(recipe, calibration, documents, machine).plan()


@dataclass
class _Estimator:
    recipe: Recipe
    calibration: Calibration
    documents: int
    machine: Machine
    _layout: Counter[int] = field(default_factory=Counter)

    def plan(self) -> BuildPlan:
        largest, last = self._builds[-1], self._trials[-1]
        self._layout = partition_rows(self.documents, largest.source_bytes / largest.documents)
        parts = []
        for name in last.results:
            share = spread(self.documents / self._largest(name).documents)
            found = self._parts(name, self._largest(name).results[name])
            parts += [replace(part, bytes=part.bytes.widened(share), cpu=part.cpu.widened(share)) for part in found]
        extrapolation = self.documents / last.documents
        parts.append(self._between(parts, spread(extrapolation)))
        return BuildPlan(self.documents, extrapolation, parts, self._layout.total())

    @property
    def _trials(self) -> Sequence[TrialBuild]:
        return self.calibration.trials

    @property
    def _builds(self) -> Sequence[TrialBuild]:
        return (*self._trials, *self.calibration.texts)

    def _largest(self, name: str) -> TrialBuild:
        """Return the largest build that has a result."""
        return next(trial for trial in reversed(self._builds) if name in trial.results)

    @property
    def _workers(self) -> int:
        return min(self.machine.cores, self._layout.total())

    def _parts(self, name: str, cost: ResultCost) -> list[Part]:
        settings: Any = self.recipe.indexes.get(name)
        kind = (
            "index"
            if settings is not None
            else "intermediate"
            if ":" in name or name.startswith("tables/")
            else "table"
        )
        if isinstance(settings, VectorSettings):
            return self._vector_parts(name, settings)
        if cost.cut == "partitions":
            return [self._partitioned(name, kind, cost)]
        if cost.cut == "shards":
            return [self._sharded(name, kind, shard_sizes(self.documents, self._shard_rows(settings, cost)))]
        return [self._whole(name, kind, bounded=cost.cut == "ranges")]

    def _points(self, name: str) -> list[tuple[int, int, Any]]:
        """Return the number of the trial, the unit's number and the unit of a result, of all trials."""
        return [
            (number, place, unit)
            for number, trial in enumerate(self._builds)
            if name in trial.results
            for place, unit in enumerate(trial.results[name].units)
        ]

    def _partitioned(self, name: str, kind: str, cost: ResultCost) -> Part:
        ratio = cost.rows / self._largest(name).documents
        sizes = {round(rows * ratio): count for rows, count in self._layout.items()}
        units, rows = self._layout.total(), round(self.documents * ratio)
        points = [
            Point((float(place == 0), 1.0, unit.rows), unit.cpu, number) for number, place, unit in self._points(name)
        ]
        cpu = predict(points, (0.0, units, rows)) + self._first_units(name, points)
        return Part(name, kind, rows, units, self._file_bytes(name, sizes), cpu, self._base_memory)

    def _first_units(self, name: str, points: list[Point]) -> Estimate:
        """Return what first units of workers take besides: of Ray, each loads what one process has."""
        cost = self.calibration.ray[-1].results.get(name)
        local = predict(points, (1.0, 0.0, 0.0))
        if cost is None or not cost.units:
            return local.times(self._workers)
        usual = predict(points, (0.0, len(cost.units), cost.rows))
        workers = min(len(cost.units), self.calibration.ray_cpus)
        return Estimate.exact(max(local.value, (cost.cpu - usual.value) / workers)).times(self._workers)

    def _file_bytes(self, name: str, sizes: dict[int, int] | Counter[int], leave_out: tuple[str, ...] = ()) -> Estimate:
        """Return the bytes of all units of some sizes, file by file: of one is a header, distinct words, or rows."""
        goal = tuple(sum(law(rows) * count for rows, count in sizes.items()) for law in (lambda _: 1.0, root, float))
        found = self._points(name)
        names = {file for _, _, unit in found for file in unit.files if not file.endswith(leave_out or ("\0",))}
        parts = []
        for file in sorted(names):
            points = [
                Point((1.0, root(unit.rows), float(unit.rows)), unit.files.get(file, 0), number)
                for number, _, unit in found
            ]
            parts.append(predict(points, goal))
        return total(parts)

    @property
    def _base_memory(self) -> int:
        return max(trial.peak_bytes for trial in self._trials)

    def _shard_rows(self, settings: Any, cost: ResultCost) -> int:
        """Return how many rows a shard has, which may be bounded by the bytes of what it is made of."""
        indexer: Any = load(KINDS.find(settings.type).indexer)
        limit = cost.shard_rows
        table = indexer.table(settings)
        source = self._trials[-1].results.get(table.label) if table is not None else None
        if indexer.shard_bytes is not None and source is not None and source.rows:
            limit = min(limit, round(indexer.shard_bytes * source.rows / source.bytes))
        return max(1, limit)

    def _sharded(self, name: str, kind: str, sizes: Counter[int]) -> Part:
        rows = sum(size * count for size, count in sizes.items())
        points = [Point((1.0, unit.rows), unit.cpu, number) for number, _, unit in self._points(name)]
        cpu = predict(points, (sizes.total(), rows))
        indexer: Any = load(KINDS.find(self.recipe.indexes[name].type).indexer)
        declared = indexer.memory if isinstance(indexer.memory, int) else 0
        return Part(name, kind, rows, sizes.total(), self._file_bytes(name, sizes), cpu, self._base_memory + declared)

    def _whole(self, name: str, kind: str, *, bounded: bool) -> Part:
        """Return a result that is made at once, or of ranges of ids: by its own rows, or the documents."""
        trials = [trial for trial in self._builds if name in trial.results]
        counts = [trial.results[name].rows for trial in trials]
        rows = power([trial.documents for trial in trials], counts, self.documents)
        by_rows = all(counts)
        goals = (rows.low, rows.value, rows.high) if by_rows else (self.documents,) * 3
        measured = [
            (trial.results[name], float(trial.results[name].rows if by_rows else trial.documents)) for trial in trials
        ]
        spent = [Point((1.0, size), cost.cpu, number) for number, (cost, size) in enumerate(measured)]
        written = [Point((1.0, size), cost.bytes, number) for number, (cost, size) in enumerate(measured)]
        found = ([predict(points, (1.0, goal)) for goal in goals] for points in (spent, written))
        cpu, size = (Estimate(middle.value, low.low, high.high) for low, middle, high in found)
        # What is made at once holds its rows, and for a while a copy of them.
        memory = self._base_memory + (2 * round(size.value) if rows.value and not bounded else 0)
        return Part(name, kind, round(rows.value), max(1, len(measured[-1][0].units)), size, cpu, memory, bounded)

    def _vector_parts(self, name: str, settings: VectorSettings) -> list[Part]:
        rows = rows_of(self._trials, name, self.documents)
        trials = self.calibration.vectors[name]
        found = plan_vectors(settings, rows, trials)
        others = self._file_bytes(name, found.shards, leave_out=("index.faiss", "index.hnsw", "probe.npz"))
        vector = 4 * trials[-1].dimension
        parts = []
        if found.train is not None:
            memory = self._base_memory + found.training_rows * vector
            size = Estimate.exact(found.lists * vector)
            part = Part(f"{name}: trained", "intermediate", found.training_rows, 1, size, found.train, memory)
            parts.append(part)
        memory = self._base_memory + 2 * max(found.shards, default=0) * vector
        size, count = others + found.bytes, found.shards.total()
        parts.append(Part(name, "index", rows, count, size, found.build, memory, True, found.layout, found.search))
        return parts

    def _between(self, parts: list[Part], share: float) -> Part:
        """Return the work between units: starting processes, loading models, planning, hashing, publishing."""
        local = [
            Point((1.0, float(_units(trial))), self._rest(trial), number) for number, trial in enumerate(self._trials)
        ]
        unit = predict(local, (0.0, 1.0))
        # Ray's own processes run as long as a build does.
        ray = [
            Point(
                (1.0, _spent(trial) / self.calibration.ray_cpus),
                max(0.0, self._rest(trial) - unit.value * _units(trial)),
                number,
            )
            for number, trial in enumerate(self.calibration.ray)
        ]
        seconds = total(part.cpu for part in parts).value / self.machine.cores
        spent = predict(ray, (1.0, seconds)) + unit.times(sum(part.units for part in parts))
        spent += total(part.bytes for part in parts).times(self._hashing)
        return Part("between units", "start", 0, 0, Estimate.exact(0), spent.widened(share))

    @property
    def _hashing(self) -> float:
        return _HASHED / self.calibration.hashed

    def _rest(self, trial: TrialBuild) -> float:
        """Return the CPU seconds of a build that its units did not take, but for the hashing of their bytes."""
        hashing = sum(cost.bytes for cost in trial.results.values()) * self._hashing
        return max(0.0, trial.cpu - _spent(trial) - hashing)


def _units(trial: TrialBuild) -> int:
    return sum(len(cost.units) for cost in trial.results.values())


def _spent(trial: TrialBuild) -> float:
    return sum(cost.cpu for cost in trial.results.values())
