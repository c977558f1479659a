"""The maths of mixing against sums written out, for any distances; settings that are out of their range."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemodex.retrievers.readers.knn_lm import Buckets, Mixing
from mnemodex.retrievers.readers.knn_lm.mixing import (
    knn_log_probability,
    mixed_log_probability,
    nearest_distance,
    token_log_probabilities,
)
from mnemodex.schemas.errors import QueryError

DISTANCES = st.one_of(
    st.floats(0, 64, width=32, allow_subnormal=False),
    st.floats(0, 2.0**127, width=32, allow_subnormal=False),
    st.just(math.inf),
)
ROWS = st.integers(1, 4).flatmap(
    lambda k: st.lists(
        st.lists(st.tuples(DISTANCES, st.integers(0, 4)), min_size=k, max_size=k),
        min_size=1,
        max_size=5,
    )
)
TEMPERATURES = st.floats(1e-3, 1e6)


def arrays(rows):
    distances = np.array([[distance for distance, _ in row] for row in rows], np.float32)
    tokens = np.array([[token if distance < math.inf else -1 for distance, token in row] for row in rows], np.int32)
    return distances, tokens


def by_hand(row, temperature):
    """ln p_knn of each token of one row; only differences of distances count, and large ones would lose digits."""
    found = {}
    nearest = min(distance for distance, _ in row)
    for distance, token in row:
        if distance < math.inf:
            found.setdefault(token, []).append((nearest - distance) / temperature)

    def total(terms):
        return max(terms) + math.log(sum(math.exp(term - max(terms)) for term in terms))

    every = [term for terms in found.values() for term in terms]
    return {token: total(terms) - total(every) for token, terms in found.items()}


@given(ROWS, TEMPERATURES)
def test_probabilities_of_tokens_are_those_of_the_sums(rows, temperature):
    distances, tokens = arrays(rows)
    with np.errstate(all="raise"):
        places, found, logs = token_log_probabilities(distances, tokens, temperature)
    got = {(int(place), int(token)): log for place, token, log in zip(places, found, logs, strict=True)}
    expected = {
        (place, token): log for place, row in enumerate(rows) for token, log in by_hand(row, temperature).items()
    }
    assert got.keys() == expected.keys()
    assert all(got[key] == pytest.approx(expected[key], rel=1e-9, abs=1e-9) for key in got)


@given(ROWS, TEMPERATURES, st.integers(0, 4))
def test_one_token_has_the_probability_that_it_has_among_all(rows, temperature, target):
    distances, tokens = arrays(rows)
    with np.errstate(all="raise"):
        got = knn_log_probability(distances, tokens, np.full(len(rows), target, np.int32), temperature)
    expected = [by_hand(row, temperature).get(target, -math.inf) for row in rows]
    assert got == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(ROWS, st.floats(0, 1))
def test_a_row_has_its_weight_if_it_has_a_neighbour(rows, weight):
    distances, _ = arrays(rows)
    some = [any(distance < math.inf for distance, _ in row) for row in rows]
    assert Mixing(k=1, weight=weight).weight_of(nearest_distance(distances)).tolist() == [
        weight if found else 0.0 for found in some
    ]


@given(st.floats(-50, 0), st.one_of(st.floats(-50, 0), st.just(-math.inf)), st.floats(0, 1))
def test_mixing_is_of_probabilities(model, neighbours, weight):
    (got,) = mixed_log_probability(np.array([model]), np.array([neighbours]), np.array([weight]))
    assert math.exp(got) == pytest.approx(weight * math.exp(neighbours) + (1 - weight) * math.exp(model), rel=1e-12)
    if weight == 0:
        assert got == model


def test_a_bucket_begins_at_its_edge():
    buckets = Buckets((1.0, 2.0), (0.5, 0.25, 0.0))
    assert buckets.weight_of(np.array([0, 1, 1.5, 2, 9], np.float32)).tolist() == [0.5, 0.25, 0.25, 0.0, 0.0]
    weights = Mixing(weight=buckets).weight_of(np.array([0.5, np.inf], np.float32))
    assert weights.tolist() == [0.5, 0.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k is 0: give at least 1 neighbour"),
        ({"weight": 1.5}, "weight is 1.5"),
        ({"weight": math.nan}, "weight is nan"),
        ({"temperature": 0}, "temperature is 0"),
        ({"temperature": math.inf}, "temperature is inf"),
        ({"gate": -1.0}, "gate is -1.0"),
        ({"gate": math.nan}, "gate is nan"),
        ({"k": 4, "pointers": 5}, r"pointers is 5: give 1 to k \(4\)"),
        ({"pointers": 0}, "pointers is 0"),
    ],
)
def test_a_setting_out_of_its_range_is_named(settings, message):
    with pytest.raises(QueryError, match=message):
        Mixing(**settings)


@pytest.mark.parametrize(
    ("edges", "weights", "message"),
    [
        ((1.0,), (0.5,), "1 edges and 1 weights"),
        ((2.0, 1.0), (0.1, 0.2, 0.3), "ascend"),
        ((1.0, 1.0), (0.1, 0.2, 0.3), "ascend"),
        ((math.nan,), (0.1, 0.2), "finite"),
        ((1.0,), (0.1, 2.0), "weight is 2.0"),
    ],
)
def test_buckets_that_are_none_are_named(edges, weights, message):
    with pytest.raises(QueryError, match=message):
        Buckets(edges, weights)
