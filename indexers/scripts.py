"""Words as scripts write them: what is between spaces, and runs of scripts that set none."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import pairwise

UNSPACED = (
    "\u0e00-\u0fff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Hangul letters, Khmer
    "\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"  # Kana and Han
    "\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"  # Hangul, compatibility and further Han
)
"""Characters, as in a class of a regular expression, of scripts that set no spaces between words, and of Korean, which
writes particles onto them."""
HANGUL_PARTICLE = "(?:에서는|에서|으로|에게|부터|까지|이다|은|는|이|가|을|를|의|에|로|와|과|도|만)$"
"""The pattern of what Korean writes onto a word."""
APOSTROPHE = "'\u2019"
BEYOND_LATIN = re.compile("[\u02bb\u02bc\u0300-\u1fff\u20d0-\u20ff\u2c00-\U0010ffff]")
"""Characters that are not of Latin texts."""
_MOST_MARKS = 30
"""Of a letter, as in the stream-safe text format of Unicode (UAX #15)."""
_HIRAGANA = str.maketrans({chr(code): chr(code - 0x60) for code in range(0x30A1, 0x30F7)})
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_PARTICLE = re.compile(f"(?<=.){HANGUL_PARTICLE}")


def bound_marks(text: str) -> str:
    """Return a text of which no letter has more than 30 marks: normalising takes time by the square of their number."""
    if not BEYOND_LATIN.search(text) or not _suspected_marks().search(text):
        return text
    return _surplus_marks().sub(r"\1", text)


@cache
def _suspected_marks() -> re.Pattern[str]:
    # From code point 65536 on, Python looks up a character in one range after the other: here all are one range.
    suspected = f"[{_low_marks()}\U00010000-\U0010ffff]"
    return re.compile(f"{suspected}{suspected}{{{_MOST_MARKS}}}")


@cache
def _surplus_marks() -> re.Pattern[str]:
    high = re.finditer(f"[{marks()}]+", "".join(map(chr, range(0x10000, 0x20000))))
    mark = f"(?:[{_low_marks()}]|[{''.join(f'{run[0][0]}-{run[0][-1]}' for run in high)}])"
    return re.compile(f"({mark}{{{_MOST_MARKS}}}){mark}+")


def _low_marks() -> str:
    # Half-width voicing marks become marks when they are normalised.
    return "".join(mark for mark in marks() if mark < "\U00010000") + "\uff9e\uff9f"


def fold_signs(text: str) -> str:
    """Return a text with ASCII digits and apostrophes, without the points and strokes that are optional.

    Those are the vowels of Arabic and Hebrew, and the stroke that makes an Arabic word longer.
    """
    if text.isascii() or not BEYOND_LATIN.search(text):
        return text
    pattern, replacements = _variants()
    return pattern.sub(lambda match: replacements[match[0]], text)


@cache
def _variants() -> tuple[re.Pattern[str], dict[str, str]]:
    optional = [0x640, *range(0x64B, 0x653), 0x670, *range(0x591, 0x5BE), 0x5BF, 0x5C1, 0x5C2, 0x5C4, 0x5C5, 0x5C7]
    digits = {digit: str(int(digit)) for digit in map(chr, range(0x660, 0x10000)) if digit.isdecimal()}
    signs = {"\u02bb": "'", "\u02bc": "'", "\u066b": ".", "\u066c": ","}
    replacements = {**dict.fromkeys(map(chr, optional), ""), **digits, **signs}
    return re.compile(f"[{''.join(replacements)}]"), replacements


def grams(run: str) -> tuple[list[str], list[str]]:
    """Return the words of a run of characters of a script without spaces: pairs of letters, and letters alone.

    The pairs are of neighbouring letters with their marks, in whatever order these were typed. Letters alone are
    Chinese, or a Korean syllable before a particle; other Korean particles are left out.
    """
    bare = _PARTICLE.sub("", run) if "\uac00" <= run[-1] <= "\ud7a3" else run
    if bare == "것":
        return [], []  # "what", of a clause
    alone = _HAN.findall(run)
    if len(bare) == 1 < len(run):
        bare, alone = run, [bare]
    marked = letters(bare.replace("\u0e40\u0e40", "\u0e41"))
    if len(marked) == 1:
        return marked, []
    return [one + other for one, other in pairwise(marked)], alone


def letters(run: str) -> list[str]:
    """Return the letters of a run with their marks in one order, as long as they are; katakana are as hiragana."""
    found = _marked_letter().findall(run.translate(_HIRAGANA))
    return [letter if len(letter) < 3 else letter[0] + "".join(sorted(letter[1:])) for letter in found]


@cache
def _marked_letter() -> re.Pattern[str]:
    return re.compile(rf"[^{_low_marks()}][{_low_marks()}]*|[{_low_marks()}]+")


@cache
def marks() -> str:
    """Return the marks, which are no letters to Python: accents, and the vowel signs that Indic scripts write."""
    return "".join(mark for mark in map(chr, range(0x300, 0x20000)) if unicodedata.category(mark).startswith("M"))


@cache
def word_pattern() -> re.Pattern[str]:
    """Return a pattern of runs of letters, marks and digits; those of `UNSPACED` are in the group `run`."""
    letter = rf"[^\W_]|[{marks()}]"
    return re.compile(rf"(?P<run>[{UNSPACED}]+)|(?:(?![{UNSPACED}])(?:{letter}))+")
