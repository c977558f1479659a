"""What a model writes with a memory and without, in figures."""

from __future__ import annotations

from collections import Counter
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from language_models import loaded
from numpy_datastore import datastore

from mnemodex.retrievers.readers.knn_lm.mixing import Mixing
from mnemodex.retrievers.readers.knn_lm_report.generation import (
    distinct,
    generate,
    repeated,
    retrieval_entropy,
)
from mnemodex.retrievers.readers.knn_lm_report.neighbourhoods import gather
from mnemodex.retrievers.readers.knn_lm_report.reading import read_texts
from mnemodex.schemas.errors import QueryError

RANDOM = np.random.default_rng(11)
STORED = [RANDOM.integers(0, 400, 60).astype(np.int32) for _ in range(3)]
TEXTS = [STORED[0][:40], STORED[1], RANDOM.integers(0, 400, 20).astype(np.int32), STORED[2][:52]]

tokens = arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 3))


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    return loaded("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def stored(lm):
    return datastore(lm.model, STORED)


@given(tokens, st.integers(1, 4))
def test_different_ngrams_are_counted(texts, n):
    ngrams = [tuple(text[at : at + n]) for text in texts.tolist() for at in range(len(text) - n + 1)]
    assert distinct(texts, n) == (len(set(ngrams)) / len(ngrams) if ngrams else 0)


@given(tokens, st.integers(1, 4), st.integers(0, 5))
def test_repeated_ngrams_are_those_that_stood_before_in_the_same_text(texts, n, start):
    seen = []
    for text in texts.tolist():
        ngrams = [tuple(text[at : at + n]) for at in range(len(text) - n + 1)]
        seen += [ngrams[at] in ngrams[:at] for at in range(start, len(ngrams))]
    assert repeated(texts, n, start=start) == pytest.approx(np.mean(seen) if seen else 0)


def test_the_entropy_of_neighbours_is_that_of_their_tokens(lm, stored, tmp_path):
    readings = read_texts(lm, stored.info, TEXTS, tmp_path)
    found = gather(stored, readings, Mixing(k=7), tmp_path)
    entropy = retrieval_entropy(found, 30.0)
    for row in range(len(readings)):
        parts = np.exp(-(found.distances[row] - found.distances[row].min()) / 30.0).astype(float)
        chance = Counter()
        for token, part in zip(found.values[row].tolist(), (parts / parts.sum()).tolist(), strict=True):
            chance[token] += part
        assert entropy[row] == pytest.approx(-sum(part * log(part) for part in chance.values()), abs=1e-5)


def test_what_is_written_depends_on_the_seed_and_on_the_memory(lm, stored, tmp_path):
    def ways(folder, **options):
        mixing = Mixing(k=8, temperature=5.0, **{"weight": 0.5, **options.pop("mixing", {})})
        return generate(stored, lm, TEXTS, mixing, tmp_path / folder, tokens=16, **options)

    first = ways("a")
    assert (first.prompts, first.generated_tokens) == (3, 16)
    assert [way.texts for way in first.ways.values()] == [3, 3, 2], "only two texts are as long as what is generated"
    assert first == ways("b") and first.ways["with_memory"] != first.ways["without"]
    assert first.ways["without"] != ways("c", seed=1).ways["without"]
    unmixed = ways("d", mixing={"weight": 0.0})
    assert unmixed.ways["with_memory"].distinct == unmixed.ways["without"].distinct
    whole = ways("e", mixing={"weight": 1.0}).ways["with_memory"]
    assert whole.distinct[1] < first.ways["without"].distinct[1], "a datastore has few different tokens"


def test_a_gate_and_pointers_decide_what_is_written_but_not_how_it_is_measured(lm, stored, tmp_path):
    mixing = Mixing(k=8, temperature=5.0, gate=100.0, pointers=1)
    report = generate(stored, lm, TEXTS, mixing, tmp_path, tokens=16)
    assert report.ways["with_memory"] == report.ways["without"]
    assert all(one["retrieval_entropy"] > 0 for one in report.ways["without"].by_position)


@pytest.mark.parametrize(
    ("texts", "count", "saying"), [(TEXTS[2:3], 8, "no text has the 32 tokens"), (TEXTS, 97, "generate fewer")]
)
def test_texts_that_are_too_short_or_too_long_for_the_model_are_refused(lm, stored, tmp_path, texts, count, saying):
    with pytest.raises(QueryError, match=saying):
        generate(stored, lm, texts, Mixing(k=8), tmp_path, tokens=count)
