"""Two indexes compared by the same queries, after Smucker, Allan and Carterette (CIKM 2007)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Floats
    from mnemodex.retrievers.evaluation import Measures

_RESAMPLES = 9999
_BATCH_CELLS = 10_000_000
"""Differences that are resampled at once: 80 MB."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One measure of two indexes.

    Attributes:
        first: its mean over the queries for the first index.
        second: for the second one.
        difference: of the second from the first.
        low: where the 95 % confidence interval of the difference begins, by the bootstrap.
        high: where it ends.
        p: of the paired randomisation test, two-sided: how often swapping the indexes at random, query by query, gives
            so large a difference. Measures are not corrected for each other.
        better: queries that the second index answers better.
        worse: queries that it answers worse.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    better: int
    worse: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """The measures of two indexes, by name."""

    indexes: tuple[str, str]
    queries: int
    k: int
    metrics: dict[str, Difference]

    def to_json(self) -> dict[str, Any]:
        """Return what `compare --json` prints."""
        return asdict(self)


def compare(first: Measures, second: Measures) -> Comparison:
    """Compare the measures that each query has in evaluations of the same queries.

    Raises:
        QueryError: there are fewer than two queries that are measured with.
    """
    if first.queries < 2:
        raise QueryError(
            "two indexes are compared over queries with gold or answers, and there is but one; give more --queries"
        )
    names = list(first.per_query)
    metrics = {
        measure: _difference(*(np.array([one.per_query[name][measure] for name in names]) for one in (first, second)))
        for measure in first.metrics
        if measure in first.per_query[names[0]]
    }
    return Comparison((first.index, second.index), first.queries, first.k, metrics)


def _difference(first: Floats, second: Floats) -> Difference:
    from scipy import stats

    differences = second - first
    mean = differences.mean()
    low, high, p = mean, mean, 1.0
    if differences.any():
        batch = max(1, _BATCH_CELLS // len(differences))
        given: dict[str, Any] = {"n_resamples": _RESAMPLES, "batch": batch, "vectorized": True, "axis": -1, "rng": 0}
        interval = stats.bootstrap((differences,), np.mean, method="percentile", **given).confidence_interval
        low, high = interval.low, interval.high
        p = stats.permutation_test((differences,), np.mean, permutation_type="samples", **given).pvalue
    return Difference(
        first=float(first.mean()),
        second=float(second.mean()),
        difference=float(mean),
        low=float(low),
        high=float(high),
        p=float(p),
        better=int((differences > 0).sum()),
        worse=int((differences < 0).sum()),
    )
