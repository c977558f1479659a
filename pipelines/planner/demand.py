"""Questions: what one takes at N documents, and how many machines answer so many a second."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.planner.laws import Estimate, Point, logarithm, predict, spread, total
from mnemodex.pipelines.planner.machine import BUSY, USABLE

if TYPE_CHECKING:
    from mnemodex.pipelines.planner.estimate import BuildPlan
    from mnemodex.pipelines.planner.figures import Calibration
    from mnemodex.pipelines.planner.machine import Machine
    from mnemodex.schemas.recipe import Recipe

_BY_LOGARITHM = {"ngram", "seal"}
"""Kinds whose questions take the logarithm of the corpus: suffix arrays."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What the questions of one index take.

    Attributes:
        index: its name.
        seconds: CPU seconds of a question in a batch.
        bytes: of the index's files, or of those that it searches.
        machines: that hold these in memory and answer the questions; each holds all, or a part of them.
    """

    index: str
    seconds: Estimate
    bytes: Estimate
    machines: int

    @property
    def rate(self) -> float:
        """Questions that a core answers in a second."""
        return 1 / max(self.seconds.value, 1e-9)


def demands(
    recipe: Recipe, calibration: Calibration, build: BuildPlan, machine: Machine, *, rate: float
) -> list[Demand]:
    """Return what questions take of each index that could be asked, `rate` of them a second."""
    found: dict[str, Demand] = {}
    sizes = {part.name: part for part in build.of("index")}
    # Those that are made of others come last.
    waiting = sorted(recipe.indexes, key=lambda name: name not in sizes)
    for name in waiting:
        settings: Any = recipe.indexes[name]
        measured = [(trial.documents, trial.seconds[name]) for trial in calibration.searches if name in trial.seconds]
        if not measured:
            continue
        of = getattr(settings, "of", None) or ()
        below = [found[other] for other in ((of,) if isinstance(of, str) else of) if other in found]
        part = sizes.get(name)
        if part is not None and part.search is not None:
            # The model's part, measured with a small index, and the search of the large one.
            seconds = Estimate.exact(measured[-1][1]) + part.search
        elif below:
            last = next(trial.seconds for trial in reversed(calibration.searches) if name in trial.seconds)
            own = last[name] - sum(last.get(one.index, 0.0) for one in below)
            seconds = total(one.seconds for one in below) + Estimate.exact(max(0.0, own))
        else:
            law = logarithm if settings.type in _BY_LOGARITHM else float
            points = [Point((1.0, law(size)), cost, number) for number, (size, cost) in enumerate(measured)]
            seconds = predict(points, (1.0, law(build.documents)))
        seconds = seconds.widened(spread(build.extrapolation))
        size = part.bytes if part is not None else total(one.bytes for one in below)
        found[name] = Demand(name, seconds, size, _machines(seconds, size, machine, rate))
    return list(found.values())


def _machines(seconds: Estimate, size: Estimate, machine: Machine, rate: float) -> int:
    """Return how many machines the memory needs, or the CPUs: a question asks all parts of an index."""
    for_memory = size.value / (machine.memory * USABLE)
    for_cpus = rate * seconds.value / (machine.cores * BUSY)
    return max(1, math.ceil(for_memory), math.ceil(for_cpus))
