"""What `search` shows of a hit's text."""

from __future__ import annotations

import re
import unicodedata

import pytest
from rich.cells import cell_len

from mnemodex.pipelines.commands.snippets import shorten, snippet
from mnemodex.retrievers.hits import Reason

FILLER = "Nothing of it is said before noon. " * 40


def shown(text, question="lemons", *reasons, language="english"):
    """The text that is shown, with stars around what is bold."""
    parts = snippet(text, question, [Reason(*reason, 1.0) for reason in reasons], language=language)
    return "".join(part if isinstance(part, str) else f"*{part[0]}*" for part in parts)


def test_a_short_text_is_shown_whole_in_one_line():
    assert shown("Two  lemons,\na LEMON and the lemonade.") == "Two *lemons*, a *LEMON* and the lemonade."
    assert (shown(""), shown(" \n"), shown("bread")) == ("", "", "bread")


def test_a_long_text_begins_near_the_first_match_and_is_cut_between_words():
    text = f"{FILLER} A slice of lemon is here. {FILLER} Another lemon."
    found = shown(text)
    assert re.match(r"…(\w+[ .]+){3,12}A slice of \*lemon\* is here\. Nothing", found)
    assert found.endswith("…") and cell_len(found) <= 162
    words = set(f"{text} A".replace(".", "").split())
    assert set(re.sub(r"[….*]", " ", found).split()) <= words, "no word is cut"
    assert shown(f"{FILLER} The last word is lemon").endswith("The last word is *lemon*")
    assert shown(f"Lemon. {FILLER}").startswith("*Lemon*. Nothing")


def test_a_match_is_found_far_into_a_book():
    for before in (8000, 8185, 8190, 8192, 100_000):
        found = shown("y " * (before // 2) + "y" * (before % 2) + " lemonade lemon " + "y " * 500_000)
        assert "lemonade *lemon* y" in found and len(found) < 170


def test_a_text_without_a_match_is_shown_from_its_beginning():
    assert shown(FILLER).startswith("Nothing of it") and shown(FILLER).endswith("…")


def test_the_strongest_reason_in_the_text_is_where_it_begins():
    text = f"A lemon. {FILLER} Bread is baked twice, and the lemon is cut. {FILLER} The oven is cold. {FILLER}"
    sentence = ("sentence", "Bread is baked twice, and the lemon is cut.")
    assert shown(text, "lemon", sentence).startswith("…Bread is baked twice, and the *lemon* is cut. Nothing")
    ngrams = [("body", "stone"), ("body", "OVEN is"), ("query", "lemon")]
    assert re.match(r"….{9,40}The oven is cold\.", shown(text, "lemon", *ngrams))
    assert shown(text, "lemon", ("word", "bake"), ("index", "words: rank 1")).startswith("A *lemon*."), (
        "a part of a word"
    )


@pytest.mark.parametrize(
    ("letters", "columns"), [("港の夜は静か", 2), ("👩\u200d👩\u200d👧", 2), ("e\u0301\u0323", 1), ("x", 1)], ids=str
)
def test_letters_are_counted_by_their_columns_and_never_cut(letters, columns):
    found = shown(letters * 100 + " lemon " + letters * 400)
    assert "*lemon*" in found and 40 <= cell_len(found.replace("*", "")) <= 160
    for side in re.fullmatch(r"…?(.*?)\*lemon\*(.*?)…?", found).groups():
        assert not re.match("[\u200d\u0300-\u036f]", side)
        assert not side.endswith("\u200d")
        if letters.startswith("e"):
            assert side.count("e") == side.count("\u0301") == side.count("\u0323")


def test_of_a_script_without_spaces_what_matches_is_bold():
    assert shown("夜の港。港の灯台は毎晩船を導く。", "灯台はどこ") == "夜の港。港の*灯台は*毎晩船を導く。"
    late = shown("夜は静かで人もいない。" * 40 + "港の灯台。" + "夜は静か。" * 40, "灯台")
    assert re.fullmatch(r"…[^*]{10,20}港の\*灯台\*。[^*]+…", late)
    assert shown("किताबें मेज़ पर रखी हैं।", "मेज़") == "किताबें *मेज़* पर रखी हैं।"


def test_words_are_those_of_the_language_of_the_index():
    assert shown("Alte Häuser am Hafen", "Haus", language="german") == "Alte *Häuser* am Hafen"
    assert shown("C++ is no C, and 3.14 no 3", "C++ 3.14") == "*C++* is no C, and *3.14* no 3"


def test_a_long_reason_is_shortened():
    assert shorten(FILLER).endswith("…") and cell_len(shorten(FILLER)) <= 160 and shorten("a\n b") == "a b"
    assert unicodedata.category(shorten("e\u0301" * 300)[-2]) == "Mn"
