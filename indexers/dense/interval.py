"""An interval of the mean of numbers between 0 and 1, such as each query's recall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Float64s

CONFIDENCE = 0.95

_DRAWS = 20_000
"""Resamples; from one seed to another the ends move by 1 % of the interval's width."""


def mean_interval(values: Float64s) -> tuple[float, float]:
    """Return where the 95 % confidence interval of the mean of what the values, of shape (n,), are a sample of ends.

    It is Gaffke's ("Three test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative
    variable", 2005): the Bayesian bootstrap (Rubin, 1981) with one value more, 0 for the lower and 1 for the upper end.
    Of zeros and ones it is Clopper and Pearson's exact interval, of others as narrow as their variance lets it be. A
    bootstrap or a normal interval without that value would be of width 0 where all values are 1, however few they are.
    Without values nothing is known: 0 and 1.
    """
    levels, counts = np.unique(values, return_counts=True)
    # By the aggregation property of the Dirichlet distribution equal values need one weight.
    drawn = np.random.default_rng(0).dirichlet([*counts, 1], size=_DRAWS)
    tail = (1 - CONFIDENCE) / 2
    low = np.quantile(drawn @ np.append(levels, 0.0), tail)
    high = np.quantile(drawn @ np.append(levels, 1.0), 1 - tail)
    return float(low), float(min(1.0, high))
