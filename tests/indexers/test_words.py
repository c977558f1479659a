"""The words of texts, compared with bm25s's own tokenizer."""

# ruff: noqa: RUF001 (letters that look like others are what is tested)

from __future__ import annotations

import time
import unicodedata

import bm25s
import pytest
import Stemmer
from hypothesis import given
from hypothesis import strategies as st

from mnemodex.indexers.graph.names import normalize
from mnemodex.indexers.graph.words import forms
from mnemodex.indexers.scripts import bound_marks
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
        ("x2 3000 C++ it's C# F#.", ["x2", "3000", "c++", "c#", "f#"]),
        ("vitamin C and vitamin D; type 1", ["vitamin", "c", "vitamin", "d", "type", "1"]),
        ("3.14 AT&T U.S.A. X-1 COVID-19", ["3.14", "t", "at&t", "usa", "x", "1", "x1", "covid", "19", "covid19"]),
        ("1,000 [1,2] well-known J.R.R.Tolkien", ["1000", "1", "2", "well", "known", "jrr", "tolkien"]),
        ("don't O'Brien l\u2019homme", ["brien", "homm"]),
        ("القاهرة قاهرة", ["قاهر", "قاهر"]),
        ("서울은 서울에서는 서울", ["서울", "서울", "서울"]),
        ("강의 물은 무엇인 것은", ["강의", "강", "물은", "물", "무엇", "엇인"]),
        ("Смотритель маяка", ["смотрител", "маяк"]),
        ("Ἀθῆναι", ["αθηνα"]),
        ("Маёк чай", ["маек", "ча"]),
        ("किताबें मेज़", ["किताब", "मेज़"]),
        ("বাংলা ข้าว", ["বাংলা", "ข้า", "าว"]),
        ("والقاهرة فالقاهرة وبالقاهرة للقاهرة", ["قاهر", "قاهر", "قاهر", "قاهر"]),
        ("كِتَابٌ كتـــاب", ["كتاب", "كتاب"]),
        ("יְרוּשָׁלַיִם וירושלים", ["ירושלים", "וירושלים", "ירושלים"]),
        ("น้ำ นํ้า แม่ เเม่", ["น้ํา", "น้ํา", "แม่", "แม่"]),
        ("ミツ みつ ﾐﾂ", ["みつ", "みつ", "みつ"]),
        ("١٩٢٨ ۱۹۲۸ ๑๙๒๘ １９２８ ٣٫١٤", ["1928", "1928", "1928", "1928", "3.14"]),
        ("Straße GROẞ Łódź Ærø cœur Diyarbakır", ["strass", "gross", "lodz", "aero", "coeur", "diyarbakir"]),
        ("Σοφός ΣΟΦΟΣ", ["σοφ", "σοφ"]),
        ("об’єкт обʼєкт", ["об", "єкт", "об", "єкт"]),
        ("港の灯台 水", ["港の", "の灯", "灯台", "港", "灯", "台", "水"]),
        ("\uff26\uff35\uff2c\uff2c \ufb01sh", ["full", "fish"]),
        ("", []),
        ("\N{PILE OF POO} — … !", []),
    ],
)
def test_words_are_folded_stemmed_and_freed_of_stop_words(text, words):
    assert words_of([text]) == [words]


@given(st.lists(st.text("abdeginorstyzABC ?;", max_size=60), max_size=5))
def test_texts_without_signs_have_the_words_of_bm25s(texts):
    expected = bm25s.tokenize(
        texts,
        token_pattern=r"\w+",
        stopwords=[word for word in bm25s.stopwords.STOPWORDS_EN_PLUS if word not in set("dmosty")],
        stemmer=Stemmer.Stemmer("english"),
        return_ids=False,
        show_progress=False,
    )
    assert words_of(texts) == [list(row) for row in expected]


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("german", "Die Häuser und das Haus", ["haus", "haus"]),
        ("french", "les chevaux de l'homme, vitamine D", ["cheval", "homm", "vitamin", "d"]),
        ("spanish", "las canciones y la canción", ["cancion", "cancion"]),
        ("russian", "и смотритель; keepers", ["смотрител", "keeper"]),
        ("turkish", "ISPARTA Isparta İSTANBUL IŞIK ışık", ["ispar", "ispar", "istanbul", "isik", "isik"]),
        ("italian", "l'università dell\u2019università", ["univers", "univers"]),
    ],
)
def test_a_language_has_its_stems_and_stop_words(language, text, words):
    split = split_words([text], language=language)
    assert [split.names.to_pylist()[number] for number in split.ids] == words


def test_words_set_apart_by_spaces_stay_as_they_are():
    split = split_words(["The 首都 of\tC++ lamps"], "whitespace")
    assert split.names.to_pylist() == ["the", "首都", "of", "c++", "lamps"]


@given(st.lists(TEXTS, max_size=5))
def test_words_do_not_depend_on_the_other_texts(texts):
    assert words_of(texts) == [words_of([text])[0] for text in texts]


def test_each_word_is_there_once():
    words = split_words(["lamps lamp the", "Lamp", "", "of"])
    assert (words.names.to_pylist(), words.ids.tolist(), words.lengths.tolist()) == (["lamp"], [0, 0, 0], [2, 1, 0, 0])


def test_a_text_is_not_longer_for_joined_words_and_single_digits():
    words = split_words(["covid 19", "COVID-19", "lamps [1] 2", "1 2", "首都", "of"])
    assert words.lengths.tolist() == [2, 3, 3, 2, 3, 0]
    assert words.sizes.tolist() == [2, 2, 1, 1, 1, 0]


@pytest.mark.parametrize("marks", ["\u0301\u0316", "\uff9e\u0316", "\U0001d165\U0001d16d"], ids=ascii)
def test_a_letter_with_a_megabyte_of_marks_takes_no_time(marks):
    text = f"lamp e{marks * 250_000} lamp"
    begun = time.process_time()
    found = words_of([text])[0]
    forms(text)
    normalize(text)
    assert (found[0], found[-1]) == ("lamp", "lamp")
    assert time.process_time() - begun < 5


def test_marks_of_a_letter_stay_up_to_thirty():
    letter = "e" + "\u0301" * 30
    assert bound_marks(letter) == bound_marks(f"{letter}\u0316") == letter
    assert unicodedata.normalize("NFC", bound_marks("\u0e19\u0e49\u0e4d\u0e32")) == "\u0e19\u0e49\u0e4d\u0e32"
