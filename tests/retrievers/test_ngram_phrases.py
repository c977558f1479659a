"""Phrases as the n-grams to look for."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizer_models import byte_level, minilm
from tokenizers import Tokenizer, models, pre_tokenizers

from mnemodex.indexers.ngram import Ragged
from mnemodex.retrievers.ngram.phrases import PhraseTokenizer
from mnemodex.schemas.errors import QueryError


def ngrams(variants):
    """The n-grams of each phrase as lists, by the phrase's number."""
    found = {}
    for number, phrase in enumerate(variants.phrase.tolist()):
        found.setdefault(phrase, []).append(variants.ngrams.part(number, number + 1).values.tolist())
    return found


def tokens(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False).ids


def test_a_byte_pair_phrase_is_looked_for_with_and_without_its_space():
    made = byte_level()
    found = ngrams(PhraseTokenizer(made).variants(["to be", "the index"]))
    assert found == {n: [tokens(made, text), tokens(made, f" {text}")] for n, text in enumerate(["to be", "the index"])}
    assert found[0][0] != found[0][1]


def test_a_word_tokenizer_gives_one_ngram():
    made = minilm()
    assert ngrams(PhraseTokenizer(made).variants(["To be", " to\n be "])) == {0: [tokens(made, "to be")], 1: [
        tokens(made, "to be")
    ]}  # fmt: skip


def test_an_ngram_that_ends_another_is_the_only_one():
    """Each place of the longer one is a place of the shorter one too, and would be counted twice."""
    vocabulary = {character: number for number, character in enumerate(["Ġ", "a", "b"])}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert ngrams(PhraseTokenizer(made).variants(["a b"])) == {0: [[1, 0, 2]]}


@pytest.mark.parametrize("phrase", ["港", "灯台 港", "the 港"])
def test_a_phrase_with_an_unknown_token_has_no_ngram(phrase):
    made = minilm()
    assert made.token_to_id("[UNK]") in tokens(made, phrase)
    variants = PhraseTokenizer(made).variants([phrase, "the"])
    assert (variants.phrase.tolist(), variants.empty) == ([1], [])


def test_unknown_tokens_of_a_unigram_model_are_known_by_their_number():
    made = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0), ("b", -2.0)], 0))
    assert PhraseTokenizer(made).variants(["ab", "a?b"]).phrase.tolist() == [0]


@pytest.mark.parametrize("phrase", ["", " ", "\n\t", "\u200d"])
def test_phrases_without_a_token_are_told(phrase):
    variants = PhraseTokenizer(minilm()).variants(["the", phrase])
    assert (variants.phrase.tolist(), variants.empty) == ([0], [1])


def test_token_ids_are_taken_as_they_are():
    phrases = PhraseTokenizer(minilm())
    for given in ([[5, 6], [7]], [np.array([5, 6]), np.array([7])], Ragged.of([[5, 6], [7]])):
        assert ngrams(phrases.variants(given)) == {0: [[5, 6]], 1: [[7]]}
    assert ngrams(phrases.variants(np.array([[5, 6], [7, 8]]))) == {0: [[5, 6]], 1: [[7, 8]]}
    assert phrases.variants([[5], []]).empty == [1]
    assert len(phrases.variants([]).ngrams) == 0


@pytest.mark.parametrize(
    ("phrases", "message"),
    [("to be", r"\[phrase\]"), (["to be", [1, 2]], "phrase 1 is a list"), (["to be", None], "phrase 1 is a NoneType")],
)
def test_what_is_no_list_of_phrases_is_refused(phrases, message):
    with pytest.raises(QueryError, match=message):
        PhraseTokenizer(minilm()).variants(phrases)


def test_tokens_are_decoded_with_their_spaces():
    made = byte_level()
    ids = np.array([*tokens(made, " the"), *tokens(made, "the"), *tokens(made, " the")])
    texts = PhraseTokenizer(made).decode(ids)
    assert "".join(texts) == " thethe the" and len(texts) == len(ids)
    assert PhraseTokenizer(made).decode(np.zeros(0, np.int64)) == []
