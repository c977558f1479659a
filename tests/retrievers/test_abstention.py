"""Risk and coverage: by brute force, a threshold for an aim, and answers that an index declines to give."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from mnemodex.retrievers.qa.abstention import decline
from mnemodex.retrievers.qa.predictions import Prediction
from mnemodex.retrievers.risk_coverage import area, auroc, auroc_interval, risk_coverage, row_with, threshold_of

JUDGED = st.lists(st.tuples(st.integers(0, 6).map(lambda number: number / 7), st.booleans()), max_size=30)


@given(JUDGED, st.integers(0, 5))
def test_the_curve_is_what_counting_gives(judged, unanswered):
    confidence, right = [list(column) for column in zip(*judged, strict=True)] or ([], [])
    queries = len(judged) + unanswered
    curve = risk_coverage(confidence, right, queries)
    assert curve.threshold.tolist() == sorted(set(confidence), reverse=True)
    for row, threshold in enumerate(curve.threshold.tolist()):
        answered = [is_right for value, is_right in judged if value >= threshold]
        wrong = answered.count(False)
        interval = binomtest(wrong, len(answered)).proportion_ci(0.95)
        expected = (len(answered), len(answered) / queries, wrong / len(answered), interval.low, interval.high)
        assert [column[row] for column in curve[1:]] == pytest.approx(expected, abs=1e-9)


@given(JUDGED.filter(bool), st.floats(0.01, 1))
def test_a_threshold_answers_what_its_row_says(judged, aim):
    confidence, right = map(list, zip(*judged, strict=True))
    curve = risk_coverage(confidence, right, len(judged))
    row = row_with(curve, coverage=aim, risk=None)
    assert (np.flatnonzero(curve.coverage >= aim)[0]) == row
    careful = row_with(curve, coverage=None, risk=aim)
    assert careful == max((n for n, risk in enumerate(curve.risk) if risk <= aim), default=None)
    for chosen in {row, careful} - {None}:
        threshold = threshold_of(curve, chosen)
        assert sum(value >= threshold for value in confidence) == curve.answered[chosen]


@given(JUDGED)
def test_auroc_is_the_part_of_pairs_in_the_right_order(judged):
    rights = [value for value, right in judged if right]
    wrongs = [value for value, right in judged if not right]
    wins = [(right > wrong) + (right == wrong) / 2 for right in rights for wrong in wrongs]
    expected = sum(wins) / len(wins) if wins else None
    found = auroc([value for value, _ in judged], [right for _, right in judged])
    assert found == (expected if expected is None else pytest.approx(expected))


@given(JUDGED.filter(bool), st.integers(0, 5))
def test_the_area_is_the_mean_risk_where_each_answered_question_is_the_last_one(judged, unanswered):
    confidence, right = map(list, zip(*judged, strict=True))
    risks = []
    for threshold, _ in judged:
        answered = [is_right for value, is_right in judged if value >= threshold]
        risks.append(answered.count(False) / len(answered))
    found = area(risk_coverage(confidence, right, len(judged) + unanswered))
    assert found == pytest.approx(sum(risks) / len(risks))
    assert area(risk_coverage([], [], unanswered)) is None


@given(JUDGED)
def test_the_interval_of_auroc_is_about_it(judged):
    confidence, right = [list(column) for column in zip(*judged, strict=True)] or ([], [])
    found, interval = auroc(confidence, right), auroc_interval(confidence, right)
    assert (found is None) == (interval is None)
    if found is not None and interval is not None:
        assert 0 <= interval[0] <= found + 1e-9 and found - 1e-9 <= interval[1] <= 1


def test_the_interval_of_auroc_has_the_width_that_its_standard_error_says():
    """After DeLong, DeLong and Clarke-Pearson (1988)."""
    random = np.random.default_rng(0)
    rights, wrongs = random.normal(1, size=200), random.normal(0, size=100)
    interval = auroc_interval([*rights, *wrongs], [True] * 200 + [False] * 100)
    wins = rights[:, None] > wrongs
    variance = wins.mean(axis=1).var(ddof=1) / 200 + wins.mean(axis=0).var(ddof=1) / 100
    assert interval is not None
    assert interval[1] - interval[0] == pytest.approx(2 * 1.96 * math.sqrt(variance), rel=0.05)


def test_predictions_below_the_threshold_keep_the_answer_they_decline_to_give():
    sure, unsure = Prediction("Rome", 0.5, None), Prediction("Turin", 0.4, None)
    none = Prediction(None, -math.inf, None)
    assert decline([sure, unsure, none], 0.5) == [sure, Prediction(None, 0.4, None, declined="Turin"), none]
