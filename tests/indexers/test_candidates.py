"""N-grams of a text against a plain search, their overlap with a question against sets, and random numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizer_models import byte_level, minilm

from mnemodex.indexers.candidates import Candidates, TokenWords, uniform
from mnemodex.indexers.models.tokenizers import tokenize

TOKENIZERS = {"minilm": minilm, "byte level": byte_level}
VOCABULARIES = {}

words = st.lists(
    st.sampled_from(["the", "index", "Index", "memory", "tide", "harbour's", "日本", "ö", "\n", "...", "☃", "of"]),
    max_size=14,
).map(" ".join)


def vocabulary(kind):
    if kind not in VOCABULARIES:
        VOCABULARIES[kind] = TokenWords(TOKENIZERS[kind]())
    return VOCABULARIES[kind]


def candidates(kind, text, length):
    (tokens,) = tokenize(TOKENIZERS[kind](), [text])
    return Candidates.of(text, tokens, vocabulary(kind), length=length)


def plain(found, unknown, length):
    """The starts of the different n-grams, one after the other."""
    ids, offsets, text = found.tokens.ids.tolist(), found.tokens.offsets.tolist(), found.text
    length = min(length, len(ids))
    seen, starts = set(), []
    for start in range(len(ids) - length + 1 if ids else 0):
        ngram = tuple(ids[start : start + length])
        begin, end = offsets[start][0], offsets[start + length - 1][1]
        in_character = start > 0 and begin < offsets[start - 1][1]
        in_word = begin > 0 and text[begin - 1].isalnum() and text[begin : begin + 1].isalnum()
        if in_character or in_word or unknown in ngram or not text[begin:end].strip() or ngram in seen:
            continue
        seen.add(ngram)
        starts.append(start)
    return starts


def said(found, vocabulary, tokens):
    return {int(vocabulary.word[token]) for token in tokens if vocabulary.meaningful[vocabulary.word[token]]}


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(text=st.one_of(words, st.text(max_size=30)), length=st.integers(1, 6))
@example(text="", length=3)
@example(text=" \n\t ", length=1)
@example(text="the the the the", length=2)
def test_the_ngrams_of_a_text_are_those_of_a_plain_search(kind, text, length):
    found = candidates(kind, text, length)
    assert found.starts.tolist() == plain(found, vocabulary(kind).unknown, length)


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(text=words, question=words, length=st.integers(1, 6))
def test_the_overlap_is_dices_coefficient_of_sets_of_words(kind, text, question, length):
    found = candidates(kind, text, length)
    (asked,) = tokenize(TOKENIZERS[kind](), [question])
    told = said(found, vocabulary(kind), asked.ids)
    expected = []
    for start in found.starts.tolist():
        own = said(found, vocabulary(kind), found.tokens.ids[start : start + found.length])
        expected.append(2 * len(own & told) / max(len(own) + len(told), 1))
    np.testing.assert_allclose(found.overlap(asked.ids), expected)


def test_a_text_with_fewer_tokens_than_an_ngram_is_one_itself():
    found = candidates("minilm", "  Moss grows. ", 10)
    assert (found.starts.tolist(), found.length, found.span(0)) == ([0], 3, "Moss grows.")


def test_spans_are_the_text_as_it_stands():
    text = "The Keeper's café — naïve!"
    found = candidates("minilm", text, 2)
    assert [found.span(start) for start in found.starts.tolist()] == [
        "The Keeper", "Keeper'", "'s", "s café", "café —", "— naïve", "naïve!",
    ]  # fmt: skip


def test_an_ngram_begins_neither_inside_a_word_nor_inside_a_character():
    text = "(日本) xylophonists"
    found = candidates("byte level", text, 1)
    begins = {int(found.tokens.offsets[start, 0]) for start in found.starts.tolist()}
    assert begins == {0, 1, 3, 5} and len(found.tokens.ids) > 10


def test_case_and_space_make_no_other_word_but_parts_of_characters_do():
    words = vocabulary("byte level")
    one, other = (tokenize(byte_level(), [text])[0].ids for text in (" memory", "memory"))
    assert one.tolist() != other.tolist()
    number = byte_level().token_to_id
    assert words.word[number("M")] == words.word[number("m")]
    assert len({words.word[number(token)] for token in ("æ", "ç", "è")}) == 3, "bytes of Japanese characters"


def test_stop_words_and_marks_say_nothing():
    words = vocabulary("minilm")
    says = {text: bool(words.meaningful[words.word[minilm().token_to_id(text)]]) for text in ("the", ",", "tide", "7")}
    assert says == {"the": False, ",": False, "tide": True, "7": True}


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_random_numbers_are_inside_the_unit_interval_and_the_same_again(doc_id, draw):
    starts = np.arange(20)
    found = uniform(doc_id, draw, starts)
    assert (found > 0).all() and (found < 1).all() and len(np.unique(found)) == 20
    assert np.array_equal(uniform(doc_id, draw, starts[5:]), found[5:])


def test_random_numbers_are_uniform_and_differ_by_document_and_draw():
    found = uniform(7, 3, np.arange(20_000))
    assert np.histogram(found, 10, (0, 1))[0] == pytest.approx(2000, rel=0.1)
    for other in (uniform(8, 3, np.arange(20_000)), uniform(7, 4, np.arange(20_000))):
        assert abs(np.corrcoef(found, other)[0, 1]) < 0.03
