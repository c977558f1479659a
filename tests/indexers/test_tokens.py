"""Token ids and their places, of texts of any length."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizer_models import byte_level, minilm

from mnemodex.indexers.models import tokenizers as tokens
from mnemodex.indexers.models.tokenizers import tokenize

TEXTS = ["", "The memory of a model is an index.", "naïve 日本語\n\n  x", " \t", "e\u0301te\u0301 \u200d"]


@pytest.fixture(scope="module", params=[minilm, byte_level], ids=["minilm", "byte-level"])
def tokenizer(request):
    return request.param()


def test_tokens_are_those_of_the_tokenizer(tokenizer):
    for text, found in zip(TEXTS, tokenize(tokenizer, TEXTS), strict=True):
        expected = tokenizer.encode(text, add_special_tokens=False)
        assert found.ids.tolist() == expected.ids
        assert found.offsets.tolist() == [list(pair) for pair in expected.offsets]
        assert (found.ids.dtype, found.offsets.dtype, found.offsets.shape[1]) == (np.int32, np.int64, 2)


def test_a_text_in_pieces_has_the_ids_of_the_whole(tokenizer, monkeypatch):
    text = " ".join(f"word{number} of many, naïve and 日本語" for number in range(40))
    (whole,) = tokenize(tokenizer, [text])
    monkeypatch.setattr(tokens, "_PIECE", 50)
    monkeypatch.setattr(tokens, "_BATCH", 120)
    found = tokenize(tokenizer, ["", text, "end"])[1]
    assert np.array_equal(found.ids, whole.ids) and np.array_equal(found.offsets, whole.offsets)
