"""The text encoder, with the default model."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mnemodex.indexers.encoders import Window
from mnemodex.indexers.encoders.local import Encoder
from mnemodex.indexers.models.locate import locate
from mnemodex.schemas.errors import ModelError
from mnemodex.schemas.sections import DEFAULT_MODEL, Embedding

TEXTS = [
    "Apples are stored in straw.",
    "",
    "a",
    "The keeper climbs two hundred steps every evening to wind the clockwork. " * 6,
    "港の灯台は毎晩船を導く。",
    "Смотритель маяка",
    "word " * 400,
    "Apples are stored in straw.",
]


@pytest.fixture(scope="module")
def encoder():
    return Encoder(Embedding(), threads=1)


def gathered(parts, sizes):
    """The vectors of each window, and how often each of its texts came; windows come in order."""
    vectors = [np.full((size, 384), np.nan, np.float32) for size in sizes]
    came = [np.zeros(size, np.int64) for size in sizes]
    windows = []
    for part in parts:
        assert part.vectors.dtype == np.float32 and part.rows.dtype == np.int64 and len(part.rows)
        vectors[part.window][part.rows] = part.vectors
        came[part.window][part.rows] += 1
        windows.append(part.window)
    assert windows == sorted(windows)
    return vectors, came


def test_vectors_are_those_of_sentence_transformers(encoder):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(locate(DEFAULT_MODEL)), device="cpu")
    expected = model.encode(TEXTS, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False)
    found = encoder.encode(TEXTS)
    assert found.shape == (len(TEXTS), encoder.dimension) == (len(TEXTS), 384) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_the_order_of_texts_is_kept_and_batches_change_nothing(encoder):
    together = encoder.encode(TEXTS)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=2e-6)


def test_several_threads_give_the_vectors_and_counts_of_one(encoder):
    import torch

    before = torch.get_num_threads()
    try:
        several = Encoder(Embedding(), threads=3)
        assert several.encode([]).shape == (0, 384)
        texts = [text for number in range(12) for text in (*TEXTS, f"lamp {number}")]
        found = [several.encode(texts)]
        assert several.stats.texts == len(texts)
        assert several.stats.tokens <= several.stats.padded
        with ThreadPoolExecutor(2) as pool:
            found += pool.map(several.encode, [texts] * 2)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    expected = encoder.encode(texts)
    for vectors in found:
        np.testing.assert_allclose(vectors, expected, atol=2e-6)


def test_windows_come_in_order_and_may_be_empty(encoder):
    windows = [TEXTS[:3], [], TEXTS[3:4], TEXTS[4:]]
    found, came = gathered(encoder.stream(map(Window, windows)), [3, 0, 1, 4])
    assert all((times == 1).all() for times in came)
    np.testing.assert_allclose(np.concatenate(found), encoder.encode(TEXTS), atol=2e-6)
    assert list(encoder.stream([])) == []


def test_after_an_interruption_the_missing_vectors_are_those_of_a_run_without_one(encoder, monkeypatch):
    monkeypatch.setattr(encoder, "_max_tokens", 96)
    rng = np.random.default_rng(5)
    texts = [" ".join(rng.choice(TEXTS[3].split(), size)) for size in rng.integers(0, 40, 90)]
    windows = [texts[:50], [], texts[50:]]
    parts = list(encoder.stream(map(Window, windows)))
    sizes = [len(window) for window in windows]
    whole, came = gathered(parts, sizes)
    assert all((times == 1).all() for times in came) and len(parts) > 20
    for number in range(8):
        # Interrupted between two batches, as it is where batches are kept; and with any texts known.
        done = [np.zeros(size, np.bool_) for size in sizes]
        for part in parts[: 5 * number] if number < 5 else []:
            done[part.window][part.rows] = True
        if number >= 5:
            done = [rng.random(size) < number / 8 for size in sizes]
        again = list(encoder.stream(map(Window, windows, done)))
        found, came = gathered(again, sizes)
        for known, times, vectors, expected in zip(done, came, found, whole, strict=True):
            assert (times[~known] == 1).all() and (times <= 1).all()
            assert np.array_equal(vectors[times == 1], expected[times == 1]), "to the last bit"
        assert not any(done[part.window][part.rows].all() for part in again)
        if number < 5:
            assert len(again) == len(parts) - 5 * number, "whole batches are left out"


def test_who_stops_listening_gets_the_same_at_the_next_try(encoder, monkeypatch):
    monkeypatch.setattr(encoder, "_max_tokens", 96)
    windows = [Window(TEXTS[:5]), Window(TEXTS[5:])]
    whole = [part.vectors for part in encoder.stream(windows)]
    stream = encoder.stream(iter(windows))
    next(stream)
    stream.close()
    assert all(
        np.array_equal(one, part.vectors) for one, part in zip(whole, encoder.stream(iter(windows)), strict=True)
    )


def test_no_texts_give_no_vectors(encoder):
    assert encoder.encode([]).shape == (0, 384)


def test_the_query_prefix_stands_before_queries_only():
    prefixed = Encoder(Embedding(query_prefix="query: "), threads=1)
    np.testing.assert_allclose(prefixed.encode_queries(["apples"]), prefixed.encode(["query: apples"]), atol=1e-6)
    assert np.abs(prefixed.encode(["apples"]) - prefixed.encode_queries(["apples"])).max() > 1e-3


def test_vectors_have_length_one_unless_told_otherwise(encoder):
    np.testing.assert_allclose(np.linalg.norm(encoder.encode(TEXTS), axis=1), 1, atol=1e-5)
    raw = Encoder(Embedding(normalize=False), threads=1)
    model_normalizes = any(
        "Normalize" in part["type"] for part in json.loads((locate(DEFAULT_MODEL) / "modules.json").read_text())
    )
    assert model_normalizes or np.abs(np.linalg.norm(raw.encode(TEXTS), axis=1) - 1).max() > 1e-3


def test_what_is_cut_is_told():
    short = Encoder(Embedding(max_length=16), threads=1)
    assert short.max_length == 16
    parts = list(short.stream([Window(["one two three", "word " * 50])]))
    truncated = {row: cut for part in parts for row, cut in zip(part.rows, part.truncated, strict=True)}
    assert truncated == {0: False, 1: True}
    stats = short.stats
    assert stats.texts == 2
    assert stats.tokens == 5 + 16 and stats.padded >= stats.tokens
    np.testing.assert_allclose(short.encode(["word " * 50]), short.encode(["word " * 14]), atol=1e-6)


def test_little_is_padding(encoder):
    rng = np.random.default_rng(0)
    texts = ["ship " * int(size) for size in rng.integers(1, 20, 200)]
    before = (encoder.stats.tokens, encoder.stats.padded)
    encoder.encode(texts)
    assert (encoder.stats.padded - before[1]) / (encoder.stats.tokens - before[0]) < 1.15


def test_threads_may_share_an_encoder(encoder):
    short = TEXTS[:3]
    expected = encoder.encode(short)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: encoder.encode(short), range(40)):
            np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_model_that_is_not_there_is_named():
    with pytest.raises(ModelError, match="no package 'nothing_here' is installed"):
        Encoder(Embedding(model="pkg:nothing_here/model"))


@pytest.mark.parametrize("weights", [None, b"", b"not safetensors at all"], ids=["none", "empty", "damaged"])
def test_a_folder_that_is_no_encoder_is_named(tmp_path, weights):
    for file in locate(DEFAULT_MODEL).rglob("*"):
        if file.is_file() and file.suffix != ".safetensors":
            target = tmp_path / file.relative_to(locate(DEFAULT_MODEL))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
        elif weights is not None and file.suffix == ".safetensors":
            (tmp_path / file.relative_to(locate(DEFAULT_MODEL))).write_bytes(weights)
    with pytest.raises(ModelError, match="cannot be loaded as an encoder") as caught:
        Encoder(Embedding(model=str(tmp_path)))
    assert str(tmp_path) in str(caught.value)
