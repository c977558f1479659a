"""Two indexes compared, against figures worked out by hand."""

from __future__ import annotations

import pytest

from mnemodex.retrievers.comparison import compare
from mnemodex.retrievers.evaluation import Evaluation
from mnemodex.schemas.errors import QueryError


def measured(name, *values):
    per_query = {str(number): {"RR@10": value} for number, value in enumerate(values)}
    mean = sum(values) / len(values)
    return Evaluation(
        index=name,
        queries=len(values),
        queries_without_gold=0,
        abstention=None,
        k=10,
        metrics={"RR@10": mean},
        by_kind={},
        per_query=per_query,
        seconds=1.0,
        own_document=0,
        own_first=0,
        run="",
    )


def test_the_p_value_of_few_queries_is_exact():
    """Of the 2^5 ways to swap, only none and all give a mean of 1/2 or more on either side."""
    result = compare(measured("a", 0, 0, 0, 0, 0), measured("b", 0.5, 0.5, 0.5, 0.5, 0.5)).metrics["RR@10"]
    assert (result.difference, result.p, result.better, result.worse) == (0.5, 2 / 32, 5, 0)
    assert (result.low, result.high) == (0.5, 0.5)


def test_queries_are_paired():
    base = [n / 40 for n in range(20)]
    result = compare(
        measured("a", *base), measured("b", *(value + 0.02 + 0.001 * (n % 3) for n, value in enumerate(base)))
    )
    assert result.metrics["RR@10"].p < 0.001 and result.metrics["RR@10"].low > 0.02


def test_what_differs_by_chance_has_a_high_p_value():
    result = compare(measured("a", *[0, 1] * 10), measured("b", *[1, 0] * 10)).metrics["RR@10"]
    assert result.p == 1 and result.low < 0 < result.high and (result.better, result.worse) == (10, 10)


def test_one_query_is_too_few():
    with pytest.raises(QueryError, match="there is but one"):
        compare(measured("a", 0), measured("b", 1))
