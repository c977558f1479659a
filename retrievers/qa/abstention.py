"""When an index of pairs declines to answer: the risk of its answers at every coverage, and a threshold of confidence.

After El-Yaniv and Wiener (2010): what answers where its confidence reaches a threshold has as its coverage the part of
the questions that it answers, and as its risk the part of these answers that is wrong.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.schemas.manifest import Abstention, Stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Bools, Float64s, Int64s
    from mnemodex.retrievers.qa.predictions import Prediction

_LEVEL = 0.95
"""Of intervals."""


class Calibrated(Stats):
    """The calibration of an index."""

    abstention: Abstention


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


def auroc(confidence: Sequence[float], right: Sequence[bool]) -> float | None:
    """Return the part of the pairs of a right and a wrong answer in which the right one is surer, ties counting half.

    None where all are right, or all wrong (Mann and Whitney, 1947).
    """
    of_right: Bools = np.asarray(right, np.bool_)
    _, group = np.unique(np.asarray(confidence, np.float64), return_inverse=True)
    rights, wrongs = np.bincount(group, of_right), np.bincount(group, ~of_right)
    if not of_right.any() or of_right.all():
        return None
    surer = rights @ (np.cumsum(wrongs) - wrongs / 2)
    return float(surer / (rights.sum() * wrongs.sum()))


def decline(predictions: Sequence[Prediction], threshold: float) -> list[Prediction]:
    """Return predictions, those below a threshold of confidence without their answer."""
    return [
        replace(prediction, answer=None, declined=prediction.answer)
        if prediction.answer is not None and prediction.confidence < threshold
        else prediction
        for prediction in predictions
    ]
