"""Growth laws: costs at a few small sizes become the cost at a large one, with an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Float64s

Law = Callable[[float], float]

_ROUNDS = 5
"""Of weighting the squares; by then the weights change little."""
_NOISE = 0.1
"""The part of a cost that may grow unseen among sizes that are near each other."""


def constant(size: float) -> float:
    """Return what does not depend on the size."""
    return 1.0


def linear(size: float) -> float:
    """Return the size."""
    return size


def root(size: float) -> float:
    """Return the square root: distinct words of a text grow with about this power of it (Heaps)."""
    return math.sqrt(size)


def sorting(size: float) -> float:
    """Return n log n, as of sorting suffixes, or of adding to a graph that is searched for each row."""
    return size * math.log2(max(size, 2.0))


def logarithm(size: float) -> float:
    """Return log n, as of searching a graph or a suffix array."""
    return math.log2(max(size, 2.0))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with the interval that it is thought to lie in."""

    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> Estimate:
        """Return a value that is known."""
        return cls(value, value, value)

    def __add__(self, other: Estimate) -> Estimate:
        # Ends are added as they are: what one calibration got wrong may be wrong for all parts of a plan.
        return Estimate(self.value + other.value, self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> Estimate:
        """Return it multiplied."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor)

    def widened(self, share: float) -> Estimate:
        """Return it with ends that are by a share farther away."""
        return Estimate(self.value, self.low / (1 + share), self.high * (1 + share))


def total(parts: Iterable[Estimate]) -> Estimate:
    """Return the sum of estimates."""
    return sum(parts, Estimate.exact(0.0))


@dataclass(frozen=True, slots=True)
class Point:
    """A measured cost, by the values of the laws at its size; points of one trial have one group."""

    features: tuple[float, ...]
    cost: float
    group: int = 0


def solve(points: Sequence[Point]) -> Float64s:
    """Return how much of each law the costs have: none negative, of shape (laws,), by least squares (NNLS).

    Squares count by the inverse of the costs that the laws give, found in a few rounds: large points, from which is
    extrapolated, count most, small ones still decide what does not grow, and the sum of all costs is kept. By the
    inverse of measured costs, units that took long by chance would count least.
    """
    from scipy.optimize import nnls

    matrix = np.array([point.features for point in points], dtype=np.float64)
    costs = np.array([point.cost for point in points], dtype=np.float64)
    # Columns of like size, or the solver's tolerance swallows the small ones.
    scale: Float64s = np.maximum(np.abs(matrix).max(axis=0), 1e-300)
    matrix /= scale
    least = max(costs.max(), 1e-300) * 1e-4
    found, expected = np.zeros(matrix.shape[1]), costs
    for _ in range(_ROUNDS):
        weights = 1 / np.sqrt(np.maximum(expected, least))
        found = nnls(matrix * weights[:, None], costs * weights)[0]
        expected = matrix @ found
    return found / scale


def predict(points: Sequence[Point], target: Sequence[float]) -> Estimate:
    """Return the cost at the laws' values of another size.

    The interval holds what follows when the points of any one group are left out, and what follows when a tenth of the
    largest cost, which may have been taken for constant, grows.
    """
    if not points or not any(point.cost for point in points):
        return Estimate.exact(0.0)
    goal = np.asarray(target, dtype=np.float64)
    value = float(solve(points) @ goal)
    groups = sorted({point.group for point in points})
    others = [value]
    if len(groups) > 2:
        for group in groups:
            kept = [point for point in points if point.group != group]
            if any(point.cost for point in kept):
                others.append(float(solve(kept) @ goal))
    return Estimate(value, min(others), max(*others, _unseen(points, goal)))


def _unseen(points: Sequence[Point], goal: Float64s) -> float:
    """Return what may grow, for all that is seen: a tenth of the cost at the largest size."""
    largest = max(points, key=lambda point: max(point.features))
    ratios = [end / start for start, end in zip(largest.features, goal.tolist(), strict=True) if start > 0]
    return _NOISE * largest.cost * max(ratios, default=0.0)


def power(sizes: Sequence[float], counts: Sequence[float], target: float) -> Estimate:
    """Return a count at another size by the power of it that the last two sizes show, at most 1.

    The interval holds what follows from the first and last size, and from the first two.
    """
    known = [(size, count) for size, count in zip(sizes, counts, strict=True) if size > 0 and count > 0]
    if not known:
        return Estimate.exact(0.0)
    size, count = known[-1]
    pairs = [(known[-2], known[-1]), (known[0], known[-1]), (known[0], known[1])] if len(known) > 1 else []
    powers = [min(1.0, max(0.0, math.log(b[1] / a[1]) / math.log(b[0] / a[0]))) for a, b in pairs if a[0] < b[0]]
    found = [count * (target / size) ** exponent for exponent in powers or [1.0]]
    return Estimate(found[0], min(found), max(found))


def spread(extrapolation: float) -> float:
    """Return the share by which intervals are widened for extrapolating to so many times the largest size.

    Five hundredths, and as much for each ten-fold: `benchmarks/planner.py` compares plans with builds.
    """
    return 0.05 + 0.05 * max(0.0, math.log10(max(extrapolation, 1.0)))
