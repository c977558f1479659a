"""When an index declines to answer: the risk of its answers at every coverage, and a threshold of confidence.

After El-Yaniv and Wiener (2010): what answers where its confidence reaches a threshold has as its coverage the part of
the questions that it answers, and as its risk the part of these answers that is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.manifest import Abstention

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Bools, Float64s, Int64s

_LEVEL = 0.95
"""Of intervals."""
_RESAMPLES = 2000
_BATCH_CELLS = 10_000_000
"""Counts that are resampled at once: 80 MB."""


class RiskCoverage(NamedTuple):
    """The risk at each coverage that a threshold of confidence gives, from the fewest answers to all.

    Attributes:
        threshold: the least confidence that is answered, descending, float64 of shape (n,).
        answered: the questions that are, int64 of shape (n,).
        coverage: their part of all questions, float64 of shape (n,).
        risk: the part of them whose answer is wrong, float64 of shape (n,).
        risk_low: where the 95 % interval of the risk begins (Clopper and Pearson, 1934), float64 of shape (n,).
        risk_high: where it ends.
    """

    threshold: Float64s
    answered: Int64s
    coverage: Float64s
    risk: Float64s
    risk_low: Float64s
    risk_high: Float64s

    def points(self) -> list[dict[str, float]]:
        """Return threshold, coverage and risk of each row, as `eval --json` prints them."""
        names = ("threshold", "coverage", "risk")
        columns = (getattr(self, name).tolist() for name in names)
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def risk_coverage(confidence: Sequence[float], right: Sequence[bool], queries: int) -> RiskCoverage:
    """Return the risk at every coverage of so many queries, given those that have an answer at all.

    Queries of equal confidence are answered together, or not at all.
    """
    from scipy.special import betaincinv

    order = np.argsort(-np.asarray(confidence, np.float64), kind="stable")
    ordered = np.asarray(confidence, np.float64)[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)[: len(ordered)])
    answered = last + 1
    wrong = np.cumsum(~np.asarray(right, np.bool_)[order])[last]
    tail = (1 - _LEVEL) / 2
    low = np.where(wrong == 0, 0.0, betaincinv(wrong, answered - wrong + 1, tail))
    high = np.where(wrong == answered, 1.0, betaincinv(wrong + 1, answered - wrong, 1 - tail))
    return RiskCoverage(ordered[last], answered, answered / max(queries, 1), wrong / answered, low, high)


def row_with(curve: RiskCoverage, *, coverage: float | None, risk: float | None) -> int | None:
    """Return the row of a curve with the least coverage that reaches one, or the largest whose risk is at most one.

    It is None where there is no such row.
    """
    rows = np.flatnonzero(curve.coverage >= coverage if coverage is not None else curve.risk <= (risk or 0.0))
    if not len(rows):
        return None
    return int(rows[0] if coverage is not None else rows[-1])


def threshold_of(curve: RiskCoverage, row: int) -> float:
    """Return a confidence between the last one that a row answers and the next lower one.

    In another batch, the same question's may differ in its last bits.
    """
    return float(curve.threshold[row : row + 2].mean())


def choose_threshold(
    curve: RiskCoverage, queries: int, *, coverage: float | None, risk: float | None, at: str
) -> Abstention:
    """Return the threshold of a curve, of at least one row, that has a coverage or a risk; see `row_with`.

    Where no threshold has the coverage, it is the one that answers most.

    Raises:
        QueryError: no threshold has the risk; the message begins with `at`.
    """
    row = row_with(curve, coverage=coverage, risk=risk)
    if row is None and risk is not None:
        best = curve.risk.argmin()
        raise QueryError(
            f"{at}: no threshold has a risk of {risk}: the least is {curve.risk[best]:.3f}, at a coverage of "
            f"{curve.coverage[best]:.3f}; raise `risk`"
        )
    if row is None:
        row = len(curve.threshold) - 1
    return Abstention(
        threshold=threshold_of(curve, row),
        queries=queries,
        **{name: getattr(curve, name)[row].item() for name in curve._fields if name != "threshold"},
    )


def area(curve: RiskCoverage) -> float | None:
    """Return the risk averaged over the coverages that the curve reaches; None where nothing is answered.

    Queries of equal confidence have the risk of all of them.
    """
    if not len(curve.risk):
        return None
    return float(np.average(curve.risk, weights=np.diff(curve.answered, prepend=0)))


def auroc(confidence: Sequence[float], right: Sequence[bool]) -> float | None:
    """Return the part of the pairs of a right and a wrong answer in which the right one is surer, ties counting half.

    None where all are right, or all wrong (Mann and Whitney, 1947).
    """
    rights, wrongs = _by_confidence(confidence, right)
    if not rights.any() or not wrongs.any():
        return None
    return float(_part_in_order(rights, wrongs))


def auroc_interval(confidence: Sequence[float], right: Sequence[bool]) -> tuple[float, float] | None:
    """Return where the 95 % interval of `auroc` begins and ends, by the percentile bootstrap; None where it is None.

    Right and wrong answers are resampled apart. Where they are separated perfectly, so is every resample, and the
    interval has no width.
    """
    rights, wrongs = _by_confidence(confidence, right)
    if not rights.any() or not wrongs.any():
        return None
    random = np.random.default_rng(0)
    batch = max(1, _BATCH_CELLS // len(rights))
    sizes = [min(batch, _RESAMPLES - begin) for begin in range(0, _RESAMPLES, batch)]
    resampled = [_part_in_order(*(_resample(counts, size, random) for counts in (rights, wrongs))) for size in sizes]
    low, high = np.quantile(np.concatenate(resampled), ((1 - _LEVEL) / 2, (1 + _LEVEL) / 2))
    return float(low), float(high)


def _by_confidence(confidence: Sequence[float], right: Sequence[bool]) -> tuple[Int64s, Int64s]:
    """Return how many answers are right and wrong at each distinct confidence, ascending, int64 of shape (n,)."""
    is_right: Bools = np.asarray(right, np.bool_)
    distinct, group = np.unique(np.asarray(confidence, np.float64), return_inverse=True)
    rights, wrongs = (np.bincount(group[chosen], minlength=len(distinct)) for chosen in (is_right, ~is_right))
    return rights, wrongs


def _resample(counts: Int64s, size: int, random: np.random.Generator) -> Int64s:
    """Return counts of so many resamples of the answers that were counted, int64 of shape (size, n)."""
    return random.multinomial(counts.sum(), counts / counts.sum(), size=size)


def _part_in_order(rights: Int64s, wrongs: Int64s) -> Float64s:
    """Return `auroc` of counts of shape (..., n), float64 of shape (...,)."""
    surer = (rights * (np.cumsum(wrongs, axis=-1) - wrongs / 2)).sum(axis=-1)
    part: Float64s = surer / (rights.sum(axis=-1) * wrongs.sum(axis=-1))
    return part
