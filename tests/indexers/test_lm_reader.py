"""States that are read in batches, against the model's own logits and keys, window by window."""

from __future__ import annotations

import causal_models
import numpy as np
import pytest
import torch

from mnemodex.indexers.lm import reader as reader_module
from mnemodex.indexers.lm.capture import KeyCapture
from mnemodex.indexers.lm.reader import StateReader
from mnemodex.indexers.text import length_buckets

MODELS = list(causal_models.MODELS)
pytestmark = pytest.mark.usefixtures("one_thread")
PREDICTED = np.array([1, 12, 3, 29, 30, 2, 26, 11], np.int64)
LENGTHS = [2, 13, 9, 31, 31, 12, 28, 14]


def some_windows(vocabulary=120):
    rng = np.random.default_rng(11)
    return [rng.integers(3, vocabulary, length).astype(np.int32) for length in LENGTHS]


def by_hand(model, capture, tokens, predicted):
    """The states of one window, read by itself, all at once."""
    ids = torch.from_numpy(tokens.astype(np.int64))
    with torch.no_grad(), capture:
        logits = model(input_ids=ids[None, :-1], use_cache=False).logits[0, -predicted:].double()
    log = logits.log_softmax(-1)
    surprisal = -log[torch.arange(predicted), ids[-predicted:]]
    return capture.last[0, -predicted:].float(), surprisal, torch.special.entr(log.exp()).sum(-1)


def check(model, key, *, rtol, atol, **asked):
    tokens = some_windows()
    reader, capture = StateReader(model, key, **asked), KeyCapture(model, key)
    read = dict(reader.read(tokens, PREDICTED))
    assert sorted(read) == list(range(len(tokens)))
    for number, states in read.items():
        keys, surprisal, entropy = by_hand(model, capture, tokens[number], int(PREDICTED[number]))
        assert states.keys.dtype == np.float16 and states.keys.shape == (PREDICTED[number], reader.dimension)
        scale = float(keys.abs().max())
        np.testing.assert_allclose(states.keys, keys.numpy(), rtol=max(rtol, 1e-3), atol=max(atol, 1e-3) * scale)
        for name, found, expected in (
            ("surprisal", states.surprisal, surprisal),
            ("entropy", states.entropy, entropy),
        ):
            assert (found is not None) == asked[name]
            if found is not None:
                assert found.dtype == np.float32
                np.testing.assert_allclose(found, expected.numpy(), rtol=rtol, atol=atol)


@pytest.mark.parametrize("kind", MODELS)
def test_batches_read_what_single_windows_do(kind, monkeypatch):
    monkeypatch.setattr(reader_module, "_CPU_TOKENS", 90)
    monkeypatch.setattr(reader_module, "_LOGITS", 120 * 7)
    model = causal_models.make(kind)
    key = "ffn_input" if causal_models.places(kind).feed_forward else "block_output"
    check(model, key, surprisal=True, entropy=True, rtol=2e-4, atol=2e-4)
    check(model, key, surprisal=False, entropy=False, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("key", ["ffn_input", "block_output", "final_hidden", "lm_head_input"])
@pytest.mark.parametrize("kind", ["gpt2", "opt of two widths", "roberta", "gemma2", "falcon"])
def test_every_key_is_read_with_and_without_opinions(kind, key, monkeypatch):
    monkeypatch.setattr(reader_module, "_LOGITS", 120 * 7)
    model = causal_models.make(kind)
    check(model, key, surprisal=True, entropy=False, rtol=2e-4, atol=2e-4)
    check(model, key, surprisal=False, entropy=True, rtol=2e-4, atol=2e-4)
    check(model, key, surprisal=False, entropy=False, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("kind", ["llama", "gemma2", "opt"])
def test_a_model_in_half_precision_is_read_alike(kind):
    check(causal_models.make(kind).bfloat16(), "ffn_input", surprisal=True, entropy=True, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("opinions", [True, False])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_after_an_interruption_the_missing_states_are_those_of_a_run_without_one(kind, opinions, monkeypatch):
    monkeypatch.setattr(reader_module, "_CPU_TOKENS", 70)
    reader = StateReader(causal_models.make(kind), "ffn_input", surprisal=opinions, entropy=opinions)
    rng = np.random.default_rng(7)
    lengths = rng.integers(2, 32, 40)
    tokens = [rng.integers(3, 120, length).astype(np.int32) for length in lengths]
    predicted = rng.integers(1, lengths)
    order = [number for number, _ in reader.read(tokens, predicted)]
    whole = dict(reader.read(tokens, predicted))
    assert sorted(order) == list(range(40)) and reader.dimension
    masks = [np.isin(np.arange(40), order[:count]) for count in (0, 1, 13, 27, 39, 40)]
    for done in (*masks, *(rng.random(40) < share for share in (0.2, 0.5, 0.9))):
        again = dict(reader.read(tokens, predicted, done=done))
        assert set(again) >= set(np.flatnonzero(~done).tolist())
        for number, states in again.items():
            for name in ("keys", "surprisal", "entropy"):
                found, expected = getattr(states, name), getattr(whole[number], name)
                assert (found is None) == (expected is None)
                assert found is None or np.array_equal(found, expected), "to the last bit"
    assert not dict(reader.read(tokens, predicted, done=np.ones(40, np.bool_)))


def test_batches_of_which_all_is_known_are_not_read(monkeypatch):
    monkeypatch.setattr(reader_module, "_CPU_TOKENS", 70)
    model = causal_models.make("llama")
    reader, tokens, batches = StateReader(model, "ffn_input", surprisal=False), some_windows(), []
    model.model.register_forward_pre_hook(lambda module, args, named: batches.append(1), with_kwargs=True)
    order = [number for number, _ in reader.read(tokens, PREDICTED)]
    buckets = list(length_buckets(np.array(LENGTHS) - 1, max_tokens=70, min_rows=1))
    assert len(batches) == len(buckets) > 3
    for count in range(len(order) + 1):
        batches.clear()
        done = np.isin(np.arange(len(order)), order[:count])
        again = [number for number, _ in reader.read(tokens, PREDICTED, done=done)]
        assert again == order[len(order) - len(again) :], "the others, in the same order"
        assert len(batches) == sum(not done[bucket].all() for bucket in buckets)
    assert not batches


def test_the_output_layer_runs_for_what_is_predicted_alone_and_in_pieces(monkeypatch):
    monkeypatch.setattr(reader_module, "_LOGITS", 120 * 7)
    model = causal_models.make("llama")
    rows = []
    model.lm_head.register_forward_hook(lambda module, given, output: rows.append(len(given[0].flatten(0, -2))))
    for key in ("ffn_input", "block_output", "final_hidden", "lm_head_input"):
        reader = StateReader(model, key, surprisal=False)
        rows.clear()
        list(reader.read(some_windows(), PREDICTED))
        assert not rows
        reader = StateReader(model, key, surprisal=True)
        rows.clear()
        list(reader.read(some_windows(), PREDICTED))
        assert sum(rows) == PREDICTED.sum() and max(rows) <= 7


def test_a_reader_that_is_left_early_leaves_the_model_alone():
    model = causal_models.make("llama")
    for opinions in (False, True):
        reading = StateReader(model, "ffn_input", surprisal=opinions).read(some_windows(), PREDICTED)
        next(reading)
        assert not torch.is_inference_mode_enabled()
        assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
        assert "forward" not in vars(model.model)
        reading.close()


def test_words_that_cannot_come_have_no_part_in_the_entropy():
    model = causal_models.make("llama")
    model.lm_head.register_forward_hook(lambda module, given, output: output.index_fill(-1, torch.tensor([1]), -np.inf))
    for _, states in StateReader(model, "ffn_input", entropy=True).read(some_windows(), PREDICTED):
        assert np.isfinite(states.entropy).all()


def test_a_number_that_half_precision_lacks_is_infinite():
    model = causal_models.make("llama")
    with torch.no_grad():
        model.model.norm.weight.fill_(1e6)
    for _, states in StateReader(model, "final_hidden", surprisal=False).read(some_windows(), PREDICTED):
        assert np.isinf(states.keys).any()


def test_no_windows_have_no_states():
    reader = StateReader(causal_models.make("llama"), "ffn_input")
    assert list(reader.read([], np.zeros(0, np.int64))) == []
