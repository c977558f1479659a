"""Fitting settings of kNN-LM: the best ones are found, on one half, and can be written and read."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mnemodex.retrievers.readers.knn_lm.mixing import Buckets, Mixing, knn_log_probability, mixed_log_probability
from mnemodex.retrievers.readers.knn_lm_report import neighbourhoods, tuning
from mnemodex.retrievers.readers.knn_lm_report.evaluation import tune
from mnemodex.retrievers.readers.knn_lm_report.neighbourhoods import Neighbourhoods
from mnemodex.retrievers.readers.knn_lm_report.reading import Readings
from mnemodex.schemas.errors import QueryError

VOCABULARY = 50
TRUE = Mixing(k=16, weight=0.3, temperature=4.0)


def readings(tokens, surprisal, lengths):
    text = np.repeat(np.arange(len(lengths)), lengths)
    place = np.concatenate([np.arange(length) for length in lengths])
    nothing = np.zeros(len(tokens), np.float32)
    return Readings(tokens.astype(np.int32), text, place, surprisal.astype(np.float32), nothing, nothing[:, None], 1.0)


def drawn(rows, weight=lambda nearest: np.full(len(nearest), TRUE.weight), *, seed=3):
    """Tokens that are drawn from a uniform model mixed with neighbours, at a known weight and temperature."""
    random = np.random.default_rng(seed)
    distances = np.sort(random.gamma(4.0, 6.0, (rows, TRUE.k)), axis=1).astype(np.float32)
    values = random.integers(0, VOCABULARY, (rows, TRUE.k)).astype(np.int32)
    nearest = distances[:, 0]
    parts = np.exp(-(distances - distances[:, :1]) / TRUE.temperature)
    chance = np.cumsum(parts / parts.sum(1, keepdims=True), axis=1)
    of_memory = values[np.arange(rows), (random.random((rows, 1)) > chance[:, :-1]).sum(1)]
    tokens = np.where(random.random(rows) < weight(nearest), of_memory, random.integers(0, VOCABULARY, rows))
    read = readings(tokens, np.full(rows, np.log(VOCABULARY)), [rows // 4] * 4)
    every = np.ones(rows, bool)
    return Neighbourhoods(read, distances, values, nearest, every, ~every, 1.0)


logs = arrays(np.float64, st.integers(1, 12), elements=st.floats(-60, 0))


@given(logs, st.data())
def test_no_other_weight_is_better(model, data):
    neighbours = data.draw(arrays(np.float64, len(model), elements=st.floats(-60, 0) | st.just(-np.inf)))

    def likelihood(weight):
        return mixed_log_probability(model, neighbours, np.full(len(model), weight)).mean()

    best = tuning.best_weight(model, neighbours)
    assert 0 <= best <= 1
    assert likelihood(best) >= max(likelihood(weight) for weight in np.linspace(0, 1, 101)[:-1]) - 1e-9


def test_a_prior_draws_a_weight_towards_it_and_less_so_the_more_tokens_there_are():
    helpful = np.zeros(1000), np.full(1000, 2.0)
    weights = [tuning.best_weight(helpful[0][:n], helpful[1][:n], prior=0.2) for n in (1, 100, 1000)]
    assert 0.2 < weights[0] < weights[1] < weights[2] < 1
    assert tuning.best_weight(np.zeros(0), np.zeros(0), prior=0.2) == pytest.approx(0.2)


def test_likelihoods_at_several_temperatures_are_those_of_each(monkeypatch):
    found = drawn(40)
    monkeypatch.setattr(neighbourhoods, "ENTRIES", 100)
    rows = np.array([0, 3, 4, 17, 39])
    several = tuning.likelihoods(found, rows, np.array([0.5, 4.0, 1e4]))
    for temperature, found_at in zip((0.5, 4.0, 1e4), several, strict=True):
        expected = knn_log_probability(
            found.distances[rows], found.values[rows], found.readings.tokens[rows], temperature
        )
        np.testing.assert_allclose(np.exp(found_at), np.exp(expected), atol=1e-6)


def test_the_settings_that_tokens_were_drawn_with_are_found():
    found = drawn(20_000)
    fixed, buckets = tuning.fit(found, np.ones(20_000, bool), replace(TRUE, weight=0.9, temperature=100.0))
    assert fixed.weight == pytest.approx(TRUE.weight, abs=0.03)
    assert fixed.temperature == pytest.approx(TRUE.temperature, rel=0.2)
    assert (fixed.k, buckets.k, len(buckets.weight.edges)) == (16, 16, 7)
    np.testing.assert_allclose(buckets.weight.weights, TRUE.weight, atol=0.06)


def test_weights_that_fall_with_the_distance_are_found_by_range():
    found = drawn(20_000, lambda nearest: np.where(nearest < 6, 0.8, 0.05))
    _, buckets = tuning.fit(found, np.ones(20_000, bool), TRUE)
    below = [weight for edge, weight in zip(buckets.weight.edges, buckets.weight.weights, strict=False) if edge < 6]
    np.testing.assert_allclose(below, 0.8, atol=0.06)
    assert buckets.weight.weights[-1] == pytest.approx(0.05, abs=0.04)


def test_neighbours_that_do_not_help_get_no_weight_and_the_temperature_stays():
    noise = replace(drawn(2000), values=np.full((2000, TRUE.k), VOCABULARY + 1, np.int32))
    fixed, buckets = tuning.fit(noise, np.ones(2000, bool), TRUE)
    assert (fixed.weight, fixed.temperature) == (0.0, TRUE.temperature)
    assert max(buckets.weight.weights) < 1e-3


def test_what_is_fitted_on_one_half_is_measured_on_the_other():
    found = drawn(8000, lambda nearest: np.where(nearest < 6, 0.8, 0.05))
    given_settings = Mixing(k=16, weight=0.9, temperature=7.0)
    tuned = tune(found, given_settings)
    assert tuned.unfitted.settings == given_settings
    ratios = [fit.figures.ratio for fit in (tuned.buckets, tuned.fixed, tuned.unfitted)]
    assert ratios == sorted(ratios) and ratios[0] < ratios[1] < 1 < ratios[2]
    assert tuned.fitted_on_tokens + tuned.fixed.figures.tokens == 8000
    fitted_on, _ = tuning.halves(found.readings)
    fixed, _ = tuning.fit(found, fitted_on, tuned.unfitted.settings)
    assert fixed == tuned.fixed.settings
    expected = np.exp(-found.mixed(fixed)[~fitted_on].mean())
    assert tuned.fixed.figures.perplexity_with_memory == pytest.approx(expected)


def test_halves_are_whole_texts_of_like_length_or_the_middle_of_one():
    tokens = np.zeros(100)
    fitted_on, how = tuning.halves(readings(tokens, tokens, [5, 40, 35, 20]))
    assert fitted_on.tolist() == [False] * 5 + [True] * 40 + [False] * 35 + [True] * 20 and "every other" in how
    fitted_on, how = tuning.halves(readings(tokens, tokens, [100]))
    assert fitted_on.tolist() == [True] * 50 + [False] * 50 and "first half" in how


def test_few_tokens_have_one_range_and_equal_distances_no_edge_between_them():
    edges, ranges = tuning._ranges(np.ones(100, np.float32))
    assert len(edges) == 0 and set(ranges) == {0}
    edges, ranges = tuning._ranges(np.repeat([0, 1, 2], [900, 50, 50]).astype(np.float32))
    assert edges.tolist() == [] or set(ranges) == set(range(len(edges) + 1))
    found = drawn(100)
    _, buckets = tuning.fit(found, np.ones(100, bool), TRUE)
    assert isinstance(buckets.weight, Buckets) and len(buckets.weight.weights) == 1


def test_one_token_is_too_few_to_tune():
    found = drawn(4)
    one = Neighbourhoods(
        readings(np.zeros(1), np.ones(1), [1]), found.distances[:1], found.values[:1], found.nearest[:1],
        np.ones(1, bool), np.zeros(1, bool), 1.0,
    )  # fmt: skip
    with pytest.raises(QueryError, match="too few tokens"):
        tune(one, Mixing(k=16, temperature=1.0))


@pytest.mark.parametrize(
    "mixing", [Mixing(), Mixing(k=3, weight=Buckets((1.5, 2.5), (0.5, 0.25, 0.1)), temperature=2.0, pointers=2)]
)
def test_settings_can_be_written_and_read(tmp_path, mixing):
    mixing.save(tmp_path / "settings.json")
    assert Mixing.load(tmp_path / "settings.json") == mixing
    assert set(json.loads((tmp_path / "settings.json").read_text())) > {"k", "weight", "temperature"}


@pytest.mark.parametrize(
    ("content", "saying"),
    [
        (None, "cannot be read (No such file"),
        ("nope", "Expecting value"),
        ("[1]", "the content: should be a mapping"),
        ('{"k": 0}', "k is 0"),
        ('{"k": "8"}', "k: should be a whole number"),
        ('{"lambda": 0.5}', "no setting 'lambda'; there are k, weight"),
        ('{"weight": {"edges": [1.0], "weights": [0.5]}}', "1 edges and 1 weights"),
        ('{"weight": {"edges": [1.0], "wights": [0.5]}}', "no setting 'wights'; there are edges, weights"),
    ],
)
def test_files_that_are_no_settings_are_refused(tmp_path, content, saying):
    if content is not None:
        (tmp_path / "settings.json").write_text(content)
    with pytest.raises(QueryError, match=r"settings\.json") as error:
        Mixing.load(tmp_path / "settings.json")
    assert saying in str(error.value)
