"""Words as scripts write them: what is between spaces, and runs of scripts that set none."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

UNSPACED = (
    "\u0e00-\u0fff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Hangul letters, Khmer
    "\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"  # Kana and Han
    "\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"  # Hangul, compatibility and further Han
)
"""Characters, as in a class of a regular expression, of scripts that set no spaces between words, and of Korean, which
writes particles onto them."""


@cache
def marks() -> str:
    """Return the marks, which are no letters to Python: accents, and the vowel signs that Indic scripts write."""
    return "".join(mark for mark in map(chr, range(0x300, 0x20000)) if unicodedata.category(mark).startswith("M"))


@cache
def word_pattern() -> re.Pattern[str]:
    """Return a pattern of runs of letters, marks and digits; those of `UNSPACED` are in the group `run`."""
    letter = rf"[^\W_]|[{marks()}]"
    return re.compile(rf"(?P<run>[{UNSPACED}]+)|(?:(?![{UNSPACED}])(?:{letter}))+")
