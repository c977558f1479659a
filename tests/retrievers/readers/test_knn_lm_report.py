"""What a datastore does to a model's predictions of texts: figures that a plain loop gives too."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
import torch
from language_models import loaded
from numpy_datastore import datastore

from mnemodex.indexers.lm.reader import windows
from mnemodex.retrievers.readers.knn_lm import KnnLM
from mnemodex.retrievers.readers.knn_lm.mixing import Buckets, Mixing
from mnemodex.retrievers.readers.knn_lm.pointers import Pointers
from mnemodex.retrievers.readers.knn_lm_report import neighbourhoods, reading
from mnemodex.retrievers.readers.knn_lm_report.evaluation import evaluate, figures
from mnemodex.retrievers.readers.knn_lm_report.neighbourhoods import gather
from mnemodex.retrievers.readers.knn_lm_report.reading import read_texts
from mnemodex.schemas.errors import ModelError, NotFiniteError, QueryError

RANDOM = np.random.default_rng(5)
PHRASES = [RANDOM.integers(0, 400, 12) for _ in range(6)]


def text(*phrases):
    return np.concatenate([PHRASES[number] for number in phrases]).astype(np.int32)


STORED = [text(0, 1, 2), text(3, 4, 0), text(5, 1)]
TEXTS = [text(1, 2, 4), np.array([7], np.int32), text(0, 3), np.zeros(0, np.int32), text(4, 5)[:17]]


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    return loaded("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def stored(lm):
    return datastore(lm.model, STORED)


def log_probabilities(lm, ids):
    """ln p of every token of a vocabulary after each of some tokens, shape (tokens, vocabulary)."""
    with torch.no_grad():
        return torch.log_softmax(lm.model(input_ids=torch.tensor([ids])).logits[0].float(), -1).numpy()


def plain(stored, readings, mixing, row):
    """ln p with the memory of one token, as the papers write it."""
    model = -float(readings.surprisal[row])
    if mixing.gate is not None and readings.entropy[row] < mixing.gate:
        return model
    found = stored.nearest(readings.keys[row][None], mixing.k)
    parts = np.exp(-(found.distances[0] - found.distances[0].min()).astype(np.float64) / mixing.temperature)
    neighbours = parts[found.tokens[0] == readings.tokens[row]].sum() / parts.sum()
    weight = mixing.weight
    if isinstance(weight, Buckets):
        weight = weight.weights[sum(found.distances[0][0] >= edge for edge in weight.edges)]
    return log(weight * neighbours + (1 - weight) * exp(model))


@pytest.mark.parametrize(("window", "overlap", "prefix"), [(128, 16, ()), (9, 4, ()), (10, 3, (1, 2))])
def test_every_token_is_read_once_in_the_windows_of_the_datastore(lm, stored, tmp_path, window, overlap, prefix):
    info = replace(stored.info, window=window, overlap=overlap, prefix=prefix)
    told = []
    readings = read_texts(lm, info, TEXTS, tmp_path, advance=told.append)
    first = 0 if prefix else 1
    assert sum(told) == len(readings) == sum(max(len(one) - first, 0) for one in TEXTS)
    assert readings.place.tolist() == [place for one in TEXTS for place in range(first, len(one))]
    assert readings.tokens.tolist() == [token for one in TEXTS for token in one[first:].tolist()]
    assert readings.text.tolist() == [number for number, one in enumerate(TEXTS) for _ in one[first:]]
    cut = windows(np.array([len(one) for one in TEXTS]), window=window, overlap=overlap, prefix=len(prefix))
    expected, entropy = [], []
    for number in range(len(cut)):
        ids = [*prefix, *TEXTS[cut.text[number]][cut.start[number] : cut.stop[number]].tolist()]
        predicted = log_probabilities(lm, ids[:-1])[-cut.predicted[number] :]
        expected += [-row[token] for row, token in zip(predicted, ids[-len(predicted) :], strict=True)]
        entropy += (-(np.exp(predicted) * predicted).sum(1)).tolist()
    np.testing.assert_allclose(readings.surprisal, expected, atol=1e-4)
    np.testing.assert_allclose(readings.entropy, entropy, atol=1e-4)


def test_groups_of_windows_change_nothing(lm, stored, tmp_path, monkeypatch):
    info = replace(stored.info, window=9, overlap=4)
    whole = read_texts(lm, info, TEXTS, tmp_path / "a")
    monkeypatch.setattr(reading, "_WINDOWS", 2)
    parts = read_texts(lm, info, TEXTS, tmp_path / "b")
    np.testing.assert_allclose(parts.keys, whole.keys, atol=1e-4)
    np.testing.assert_array_equal(parts.place, whole.place)


def test_texts_that_were_read_are_not_read_again(lm, stored, tmp_path):
    told = []
    for texts, read in ((TEXTS, True), (TEXTS, False), (TEXTS[:1], True), (TEXTS, True)):
        readings = read_texts(lm, stored.info, texts, tmp_path, advance=told.append)
        assert bool(told) == read and readings.seconds > 0
        assert len(readings) == sum(max(len(one) - 1, 0) for one in texts)
        told.clear()


@pytest.mark.parametrize(
    "mixing",
    [
        Mixing(k=8),
        Mixing(k=1, weight=0.6, temperature=3.0),
        Mixing(k=8, gate=2.5, temperature=20.0),
        Mixing(k=8, weight=Buckets((20.0, 60.0), (0.7, 0.2, 0.0)), temperature=9.0),
        Mixing(k=5, rescore=True),
    ],
)
def test_figures_are_those_of_a_plain_loop(lm, stored, tmp_path, monkeypatch, mixing):
    monkeypatch.setattr(neighbourhoods, "ENTRIES", 24)
    result = evaluate(stored, lm, TEXTS, mixing, tmp_path)
    readings = read_texts(lm, stored.info, TEXTS, tmp_path)
    used = replace(mixing, temperature=mixing.temperature or stored.info.scale)
    mixed = np.array([plain(stored, readings, used, row) for row in range(len(readings))])
    without = -readings.surprisal.astype(np.float64)
    found = result.figures
    assert (result.settings, result.texts, result.texts_left_out) == (used, 3, 2)
    assert found.tokens == len(readings) == found.by_place["0-128"].tokens
    assert found.perplexity == pytest.approx(exp(-without.mean()))
    assert found.perplexity_with_memory == pytest.approx(exp(-mixed.mean()), rel=1e-5)
    assert found.ratio == pytest.approx(exp(without.mean() - mixed.mean()), rel=1e-5)
    change = mixed - without
    assert found.helped.percent == pytest.approx((change > 0).mean() * 100)
    assert found.harmed.median_nats == pytest.approx(np.median(change[change < 0]), abs=1e-4)
    gated = int((readings.entropy < (mixing.gate or 0)).sum())
    assert (
        found.unchanged_percent == pytest.approx((change == 0).mean() * 100)
        and found.unchanged_percent * len(change) >= gated
    )
    assert (found.lookups.done, found.lookups.saved_by_gate) == (len(change) - gated, gated)
    assert found.lookups.saved_by_pointers == 0


def test_perplexity_is_told_by_place(lm, stored, tmp_path):
    long = RANDOM.integers(0, 400, 1100).astype(np.int32)
    result = evaluate(stored, lm, [long, long[:200]], Mixing(k=4), tmp_path)
    places = result.figures.by_place
    assert {name: one.tokens for name, one in places.items()} == {
        "0-128": 127 * 2,
        "128-512": 384 + 72,
        "512-1024": 512,
        "1024+": 76,
    }
    total = sum(one.tokens * log(one.perplexity_with_memory) for one in places.values())
    assert total == pytest.approx(result.figures.tokens * log(result.figures.perplexity_with_memory))


@pytest.mark.parametrize("gate", [None, 3.0])
def test_pointers_are_followed_in_all_texts_as_in_each_alone(lm, stored, tmp_path, monkeypatch, gate):
    mixing = Mixing(k=6, pointers=2, gate=gate, temperature=5.0)
    readings = read_texts(lm, stored.info, TEXTS, tmp_path)
    monkeypatch.setattr(neighbourhoods, "ENTRIES", 12)
    found = gather(stored, readings, mixing, tmp_path)
    searches = 0
    for number in np.unique(readings.text):
        alone = Pointers(stored, mixing, 1)
        for row in np.flatnonzero(readings.text == number):
            wanted = np.array([gate is None or readings.entropy[row] >= gate])
            expected = alone.step(readings.keys[row][None], readings.tokens[[max(row - 1, 0)]], wanted)
            np.testing.assert_array_equal(found.values[row], expected.tokens[0])
            np.testing.assert_allclose(found.distances[row], expected.distances[0], rtol=1e-5)
        searches += alone.searches
    assert found.searched.sum() == searches < len(readings) - found.gated.sum()


def test_pointers_are_counted_and_help_where_texts_repeat(lm, stored, tmp_path):
    result = evaluate(stored, lm, STORED, Mixing(k=4, pointers=1, temperature=1.0), tmp_path).figures
    assert result.lookups.saved_by_pointers > result.lookups.done > 0
    assert result.lookups.saved_by_pointers + result.lookups.done == result.tokens
    assert result.ratio < 0.1


def test_texts_without_a_token_to_predict_are_refused(lm, stored, tmp_path):
    with pytest.raises(QueryError, match="too short"):
        evaluate(stored, lm, [np.array([5], np.int32)], Mixing(k=4), tmp_path)


def test_json_holds_every_figure(lm, stored, tmp_path):
    told = evaluate(stored, lm, TEXTS, Mixing(k=4, weight=1.0), tmp_path).to_json()
    assert told["perplexity_with_memory"] is None, "a token that no neighbour has is impossible at weight 1"
    assert told["settings"]["temperature"] == stored.info.scale
    assert {"index", "model", "texts", "texts_left_out", "tokens", "perplexity", "ratio", "by_place", "helped"} < set(
        told
    )


@pytest.mark.parametrize(
    "mixing",
    [
        Mixing(k=8, weight=0.4),
        Mixing(k=8, weight=Buckets((30.0,), (0.6, 0.1)), temperature=7.0, gate=3.0),
        Mixing(k=6, pointers=2, temperature=5.0),
    ],
)
def test_an_attached_model_has_the_same_loss(lm, stored, tmp_path, mixing):
    for number, ids in enumerate((TEXTS[0], TEXTS[2])):
        result = evaluate(stored, lm, [ids], mixing, tmp_path / str(number))
        read = torch.from_numpy(ids.astype(np.int64))[None]
        reader = KnnLM(stored, mixing)
        with reader.attach(lm.model), torch.no_grad():
            loss = lm.model(input_ids=read, labels=read).loss
        assert log(result.figures.perplexity_with_memory) == pytest.approx(float(loss), abs=1e-4)


def test_a_model_that_the_datastore_is_not_of_is_refused(stored, tmp_path):
    other = loaded("gpt2", tmp_path / "gpt2")
    with pytest.raises(ModelError, match="not the datastore's"):
        evaluate(stored, other, TEXTS, Mixing(k=4), tmp_path)


def test_more_neighbours_than_entries_are_refused_before_anything_is_read(lm, stored, tmp_path):
    with pytest.raises(QueryError, match="k is 1000"):
        evaluate(stored, lm, TEXTS, Mixing(k=1000), tmp_path, advance=pytest.fail)


def test_figures_with_gates_and_pointers_are_those_of_an_evaluation_with_each(lm, stored, tmp_path):
    mixing = Mixing(k=6, temperature=5.0)
    readings = read_texts(lm, stored.info, TEXTS, tmp_path)
    gates = [float(np.quantile(readings.entropy, part)) for part in (0.0, 0.5)]
    settings = [*(replace(mixing, gate=gate) for gate in gates), *(replace(mixing, pointers=n) for n in (1, 4))]
    results = [figures(gather(stored, readings, each, tmp_path / "each"), each) for each in settings]
    for each, result in zip(settings, results, strict=True):
        alone = evaluate(stored, lm, TEXTS, each, tmp_path / "alone").figures
        assert alone.lookups == result.lookups
        assert alone.perplexity_with_memory == pytest.approx(result.perplexity_with_memory)
    assert results[0].lookups.saved_by_gate == 0 < results[1].lookups.saved_by_gate
    assert results[2].lookups.done < results[3].lookups.done


def test_a_model_that_gives_no_numbers_is_refused(lm, stored, tmp_path):
    norm = lm.model.model.norm.weight
    before = norm.detach().clone()
    with torch.no_grad():
        norm.fill_(float("nan"))
        try:
            with pytest.raises(NotFiniteError, match="gives NaN or infinity"):
                read_texts(lm, stored.info, TEXTS, tmp_path)
        finally:
            norm.copy_(before)
