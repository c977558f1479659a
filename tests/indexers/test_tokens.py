"""Token ids and their places, of texts of any length."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizer_models import byte_level, minilm

from mnemodex.indexers.models import tokenizers as tokens
from mnemodex.indexers.models.tokenizers import tokenize
from mnemodex.schemas.sections import DEFAULT_MODEL

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


@pytest.mark.parametrize("word", ["[SEP]", "[CLS]", "[MASK]", "[UNK]", "[PAD]"])
def test_the_words_of_special_tokens_are_text(word):
    model = tokens.tokenizer(DEFAULT_MODEL)
    ids, offsets = tokenize(model, [f"a {word} b"])[0]
    assert model.token_to_id(word) not in ids
    assert [model.id_to_token(token) for token in ids] == ["a", "[", *model.encode(word[1:-1]).tokens[1:-1], "]", "b"]
    assert offsets[0].tolist() == [0, 1] and offsets[-1].tolist() == [len(word) + 3, len(word) + 4]
    # Those around a text are its model's.
    assert model.encode(word).tokens[0] == "[CLS]" and tokens.text_prefix(model) == (model.token_to_id("[CLS]"),)
