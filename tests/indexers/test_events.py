"""Events: which tokens are surprising, and where events begin, against what the definitions say, computed plainly."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mnemodex.indexers.lm.events import LENGTH, STEPS, cut_events, find_surprising, round_states

LIMITS = {"least": 5, "most": 10, "conductance": False}
nats = st.floats(0, 20, width=32)


@given(hnp.arrays(np.float32, st.integers(0, 40), elements=nats), st.integers(1, 50), st.floats(-2, 3))
def test_surprising_tokens_are_above_mean_and_deviation_of_the_tokens_before(surprisal, window, gamma):
    found = find_surprising(surprisal, window=window, gamma=gamma)
    steps = [round(float(number) * STEPS) for number in surprisal]
    assert found.shape == surprisal.shape and found.dtype == bool
    for token, given_steps in enumerate(steps):
        if not token:
            assert not found[0]
            continue
        before = steps[max(1, token - window) : token] if token > window else steps[1 : 1 + window]
        # `count * value - sum` of whole numbers: the definition without a division.
        variance = len(before) * sum(value * value for value in before) - sum(before) ** 2
        assert found[token] == (len(before) * given_steps - sum(before) > gamma * math.sqrt(variance))


def test_a_token_without_probability_is_surprising_and_spoils_no_other():
    surprisal = np.array([np.nan, 1, 1.5, np.inf, 1, 1.5, 9, 1, np.nan], np.float32)
    assert find_surprising(surprisal, window=100, gamma=1).nonzero()[0].tolist() == [3, 8]


def test_sums_of_the_longest_window_fit():
    surprisal = np.tile(np.float32([0, 64]), 20_000)
    assert find_surprising(surprisal, window=16384, gamma=0.99)[1:].tolist() == [True, False] * 19_999 + [True]


@pytest.mark.parametrize("dimension", [1, 3, 4096])
def test_states_are_rounded_to_vectors_of_one_length(dimension):
    states = np.random.default_rng(0).normal(scale=300, size=(20, dimension)).astype(np.float16)
    rounded = round_states(states)
    assert rounded.dtype == np.int16
    products = rounded.astype(np.int64) @ rounded.T.astype(np.int64)
    assert np.abs(products).max() < 2**23
    floats = states.astype(np.float64)
    floats /= np.linalg.norm(floats, axis=1, keepdims=True)
    np.testing.assert_allclose(products / LENGTH**2, floats @ floats.T, atol=0.01)
    assert not round_states(np.zeros((2, dimension), np.float16)).any()


def quality(similar, split, conductance):
    """Modularity of the parts before and from a split, or 1 less their conductance, as the definitions have it."""
    total, parts = similar.sum(), (slice(None, split), slice(split, None))
    volumes = [similar[part].sum() for part in parts]
    across = similar[:split, split:].sum()
    if conductance:
        return 1 - across / min(volumes) if min(volumes) else 0
    inside = [similar[part, part].sum() for part in parts]
    return sum(x / total - (y / total) ** 2 for x, y in zip(inside, volumes, strict=True)) if total else 0


def check(states, surprising, fitness, least, most, conductance):
    """Walk along the events, and look at every begin that could have been chosen instead."""
    starts = cut_events(states, surprising, fitness, least, most, conductance).tolist()
    tokens = len(surprising)
    assert starts[:1] == [0][:tokens]
    similar = np.maximum(states.astype(np.int64) @ states.T.astype(np.int64), 0)

    def surprise(begin, last):
        return next((token for token in range(begin + least, min(last, tokens - 1) + 1) if surprising[token]), None)

    for begin, split in pairwise([*starts, tokens]):
        if tokens - begin < 2 * least:
            assert split == tokens
            continue
        end = surprise(begin, min(begin + most, tokens - least))
        if end is None:
            if tokens - begin <= most:
                assert split == tokens
                continue
            end = min(begin + most, tokens - least)
        stop = surprise(end, end + most) or min(end + most, tokens)
        fittest = max(fitness[begin + least : end + 1])
        if not fittest:
            assert split == next((token for token in range(end + 1, tokens) if fitness[token]), tokens)
            continue
        allowed = [token for token in range(begin + least, end + 1) if fitness[token] == fittest]
        assert split in allowed
        region = similar[begin:stop, begin:stop]
        scores = {token: quality(region, token - begin, conductance) for token in allowed}
        best = max(scores.values())
        assert scores[split] >= best - 1e-8
        later = [scores[token] for token in allowed if token > split]
        assert all(score < best - 1e-12 for score in later), "of equal ones it is the last"
    return starts


@st.composite
def texts(draw):
    tokens = draw(st.integers(0, 60))
    least = draw(st.integers(1, 6))
    return {
        "states": draw(hnp.arrays(np.int16, (tokens, draw(st.integers(1, 3))), elements=st.integers(-3, 3))),
        "surprising": draw(hnp.arrays(np.bool_, tokens)),
        "fitness": draw(hnp.arrays(np.uint8, tokens, elements=st.integers(0, 2))),
        "least": least,
        "most": draw(st.integers(2 * least, 25)),
        "conductance": draw(st.booleans()),
    }


@given(texts())
def test_events_begin_where_the_definition_is_best(text):
    check(**text)


@given(texts())
@example({"states": np.ones((61, 1), np.int16), "surprising": np.zeros(61, np.bool_)} | LIMITS)
def test_events_have_their_sizes_where_any_token_may_begin_one(text):
    tokens = len(text["surprising"])
    fitness = np.full(tokens, 2, np.uint8)
    starts = cut_events(**(text | {"fitness": fitness})).tolist()
    sizes = np.diff([*starts, tokens])
    assert sizes.sum() == tokens and (sizes <= text["most"]).all()
    assert (sizes >= min(text["least"], tokens)).all()


def test_two_topics_are_parted_before_the_surprise():
    """The first token of the second topic is not surprising, the one after the next is."""
    states = round_states(np.repeat(np.eye(2), [20, 12], axis=0).astype(np.float16))
    surprising = np.zeros(32, np.bool_)
    surprising[22] = True
    for conductance in (False, True):
        assert cut_events(states, surprising, np.full(32, 2, np.uint8), 4, 64, conductance).tolist() == [0, 20]


def test_tokens_that_are_all_alike_are_parted_at_the_surprise():
    states = round_states(np.ones((40, 8), np.float16))
    surprising = np.zeros(40, np.bool_)
    surprising[17] = True
    for conductance in (False, True):
        assert cut_events(states, surprising, np.full(40, 2, np.uint8), 4, 64, conductance).tolist() == [0, 17]
