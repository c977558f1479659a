"""A capacity plan: what a build takes, machines for it and for its questions, and what breaks first."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.planner.calibration import calibrate, read_calibration
from mnemodex.pipelines.planner.demand import Demand, demands
from mnemodex.pipelines.planner.estimate import BuildPlan, estimate
from mnemodex.pipelines.planner.laws import Estimate, total
from mnemodex.pipelines.planner.limits import Limit, limits
from mnemodex.pipelines.planner.machine import BUSY, USABLE, Machine
from mnemodex.pipelines.preflight import check_inputs
from mnemodex.schemas.recipe import load_recipe
from mnemodex.schemas.store.object_url import is_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnemodex.pipelines.planner.figures import Calibration


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What is planned with.

    Attributes:
        machine: the size of the machines; this one without it.
        queries_per_second: that each index is to answer.
        gpu_tflops: 10^12 operations a second that a GPU is taken to compute in models.
        seconds: of one CPU that the calibration may take, roughly.
    """

    machine: Machine | None = None
    queries_per_second: float = 0.0
    gpu_tflops: float = 100.0
    seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """A plan.

    Attributes:
        calibration: that it is computed from.
        machine: the size of the machines.
        build: what a build takes.
        demands: what questions take of each index.
        options: what it was planned with.
        gpu_seconds: of each model, by the label of the table that it makes, and by what a GPU is taken to compute.
        limits: of it, the first one to break first.
    """

    calibration: Calibration
    machine: Machine
    build: BuildPlan
    demands: list[Demand]
    options: PlanOptions
    gpu_seconds: dict[str, Estimate]
    limits: list[Limit]

    @property
    def rate(self) -> float:
        """Questions a second that each index is to answer."""
        return self.options.queries_per_second

    @property
    def gpu_tflops(self) -> float:
        """10^12 operations a second that a GPU is taken to compute in models."""
        return self.options.gpu_tflops

    @property
    def intermediate(self) -> tuple[Estimate, Estimate]:
        """Bytes and CPU seconds of intermediate results."""
        parts = self.build.of("intermediate")
        return total(part.bytes for part in parts), total(part.cpu for part in parts)

    @property
    def searched_bytes(self) -> Estimate:
        """Bytes of all indexes, which are mapped by a search."""
        return total(part.bytes for part in self.build.of("index"))

    @property
    def machines(self) -> int:
        """Machines whose memory holds all indexes, and which answer the questions to all of them."""
        for_memory = self.searched_bytes.value / (self.machine.memory * USABLE)
        busy = sum(demand.seconds.value for demand in self.demands) * self.rate / (self.machine.cores * BUSY)
        return max(1, math.ceil(for_memory), math.ceil(busy))

    @property
    def build_hours(self) -> Estimate:
        """Hours that a build takes on one machine, all of its cores busy."""
        return self.build.cpu.times(1 / self.machine.cores / 3600)

    def to_json(self) -> dict[str, Any]:
        """Return it as `plan --json` prints it."""
        parts = [
            {
                "name": part.name,
                "kind": part.kind,
                "rows": part.rows,
                "units": part.units,
                "layout": part.layout,
                "memory": part.memory,
                "bytes": _interval(part.bytes),
                "cpu_seconds": _interval(part.cpu),
            }
            for part in self.build.parts
        ]
        return {
            "documents": self.build.documents,
            "extrapolation": self.build.extrapolation,
            "machine": self.machine.model_dump(),
            "sample": self.calibration.drawn,
            "bytes": _interval(self.build.bytes),
            "cpu_seconds": _interval(self.build.cpu),
            "build_hours": _interval(self.build_hours),
            "gpu_seconds": {name: _interval(found) for name, found in self.gpu_seconds.items()},
            "machines": self.machines,
            "parts": parts,
            "questions": [
                {
                    "index": demand.index,
                    "cpu_seconds": _interval(demand.seconds),
                    "bytes": _interval(demand.bytes),
                    "machines": demand.machines,
                }
                for demand in self.demands
            ],
            "limits": [
                {"documents": None if math.isinf(limit.documents) else limit.documents, "what": limit.what}
                for limit in self.limits
            ],
        }


def _interval(found: Estimate) -> dict[str, float]:
    return {"value": found.value, "low": found.low, "high": found.high}


def make_plan(
    recipe: Path,
    documents: int,
    options: PlanOptions,
    *,
    keep: Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> CapacityPlan:
    """Plan a memory of so many documents of a recipe's source.

    Args:
        recipe: the recipe's file.
        documents: to plan for; pairs, of a recipe without documents.
        options: what is planned with.
        keep: a file that keeps the calibration; one that is there is used instead of another calibration.
        progress: is told what is done.

    Raises:
        RecipeError: the recipe is wrong.
        SourceError: its source is missing or has no documents.
        UserError: the kept calibration is of something else.
        StageFailedError: a build of the sample failed.
    """
    checked = check_inputs(load_recipe(recipe))
    if keep is not None and keep.exists():
        found = read_calibration(keep, checked, documents)
    else:
        found = calibrate(checked, documents, seconds=options.seconds, say=progress)
        if keep is not None:
            keep.write_text(json.dumps(found.model_dump(mode="json")) + "\n", encoding="utf-8")
    machine = options.machine or Machine.here(None if is_url(checked.memory) else Path(checked.memory))
    built = estimate(checked, found, documents, machine)
    asked = demands(checked, found, built, machine, rate=options.queries_per_second)
    gpu = {
        label: Estimate.exact(2 * use.parameters * use.tokens * documents / options.gpu_tflops / 1e12).widened(1.0)
        for label, use in found.models.items()
        if use.parameters
    }
    return CapacityPlan(found, machine, built, asked, options, gpu, limits(built, machine))
