"""The words of texts, beside bm25s's own tokenizer."""

from __future__ import annotations

import bm25s
import pytest
import Stemmer
from hypothesis import given
from hypothesis import strategies as st

from mnemodex.indexers.words import split_words

TEXTS = st.text("abdeginorstyz ABCİΣ'-_.é9ß\u03c3", max_size=60) | st.just("What's the running lamps of THE harbours?")


def words_of(texts):
    words = split_words(texts)
    names, ids = words.names.to_pylist(), iter(words.ids.tolist())
    return [[names[next(ids)] for _ in range(length)] for length in words.lengths]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Running RUNS runner", ["run", "run", "runner"]),
        ("what is the lamp of a keeper", ["lamp", "keeper"]),
        ("Café naïve Ångström e\u0301t\u00e9", ["cafe", "naiv", "angstrom", "ete"]),
        ("x2 3000 C++ it's", ["x2", "3000"]),
        ("Смотритель маяка", ["смотритель", "маяка"]),
        ("Ἀθῆναι", ["αθηναι"]),
        ("Маёк чай", ["маек", "чаи"]),
        ("किताबें मेज़", ["किताबें", "मेज़"]),
        ("বাংলা ข้าว", ["বাংলা", "ข้าว"]),
        ("港の灯台 東京", ["港の灯台", "東京"]),
        ("\uff26\uff35\uff2c\uff2c \ufb01sh", ["full", "fish"]),
        ("", []),
        ("\N{PILE OF POO} — … !", []),
    ],
)
def test_words_are_folded_stemmed_and_freed_of_stop_words(text, words):
    assert words_of([text]) == [words]


@given(st.lists(TEXTS, max_size=5))
def test_texts_without_accents_have_the_words_of_bm25s(texts):
    texts = [text.replace("é", "e").replace("İ", "I") for text in texts]
    expected = bm25s.tokenize(
        texts,
        token_pattern=r"\w\w+",
        stopwords="english_plus",
        stemmer=Stemmer.Stemmer("english"),
        return_ids=False,
        show_progress=False,
    )
    assert words_of(texts) == [list(row) for row in expected]


@given(st.lists(TEXTS, max_size=5))
def test_words_do_not_depend_on_the_other_texts(texts):
    assert words_of(texts) == [words_of([text])[0] for text in texts]


def test_each_word_is_there_once():
    words = split_words(["lamps lamp the", "Lamp", "", "of"])
    assert (words.names.to_pylist(), words.ids.tolist(), words.lengths.tolist()) == (["lamp"], [0, 0, 0], [2, 1, 0, 0])
