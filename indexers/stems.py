"""The stems of words, and stop words."""

from __future__ import annotations

import re
from bisect import bisect
from functools import cache
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mnemodex.schemas.store.columns import to_column

if TYPE_CHECKING:
    from mnemodex.indexers.settings import Language

STOP_WORDS = frozenset(
    """
    a about above after again against ain all am an and any are aren aren't as at be because been before being below
    between both but by can couldn couldn't d did didn didn't do does doesn doesn't doing don don't down during each few
    for from further had hadn hadn't has hasn hasn't have haven haven't having he her here hers herself him himself his
    how i if in into is isn isn't it it's its itself just ll m ma me mightn mightn't more most mustn mustn't my myself
    needn needn't no nor not now o of off on once only or other our ours ourselves out over own re s same shan shan't
    she she's should should've shouldn shouldn't so some such t than that that'll the their theirs them themselves then
    there these they this those through to too under until up ve very was wasn wasn't we were weren weren't what when
    where which while who whom why will with won won't wouldn wouldn't y you you'd you'll you're you've your yours
    yourself yourselves
    """.split()  # noqa: SIM905 - as a list, they would take a line each
)
"""Lucene's, and the common question words and auxiliaries: `english_plus` of bm25s."""

_CONSONANTS = frozenset("bcdfghjklmnpqrstvwxz")
"""In lists of stop words they are left of elisions and contractions (`d'`, `'s`), which are known by their apostrophe
here: vitamin D is not vitamin C."""

_SCRIPTS = (
    (0x370, "greek"),
    (0x400, "russian"),
    (0x530, "armenian"),
    (0x590, "hebrew"),
    (0x600, "arabic"),
    (0x780, ""),
    (0x900, "hindi"),
    (0x980, ""),
    (0xB80, "tamil"),
    (0xC00, ""),
    (0x1E00, "english"),
    (0x1F00, "greek"),
    (0x2000, ""),
)
"""From which code point on words are stemmed as of which language, unless the text's own is written so; before the
first, as English."""
_STARTS = [start for start, _ in _SCRIPTS]
_OWN_SCRIPT = {
    **{language: language for language in ("arabic", "armenian", "greek", "hindi", "russian", "tamil")},
    "nepali": "hindi",
    "persian": "arabic",
    "serbian": "russian",
    "yiddish": "hebrew",
}
"""The script, by its name above, of languages that are not written in Latin letters."""


def stems(words: list[str], language: Language) -> list[str]:
    """Return the stems of words, empty for stop words."""
    stop, own = stop_words(language), _OWN_SCRIPT.get(language, "english")
    scripts = list(map(_script, words))
    found = [""] * len(words)
    for script in set(scripts):
        rows = [row for row, (word, known) in enumerate(zip(words, scripts, strict=True)) if known == script]
        rows = [row for row in rows if words[row] not in stop]
        stemmed = _stemmed([words[row] for row in rows], language if script == own else script)
        for row, stem in zip(rows, stemmed, strict=True):
            found[row] = stem
    return found


def _stemmed(words: list[str], language: str) -> list[str]:
    """Return the stems of words without accents."""
    import Stemmer

    if language == "english":
        # A foreign word may be written without them: the stem must not depend on that.
        words = _without_accents(words)
    elif language == "arabic":
        words = [_ARABIC_AND.sub("", word) for word in words]
    known = language not in {"", "hebrew"}
    return _without_accents(Stemmer.Stemmer(language).stemWords(words) if known else words)


_ARABIC_AND = re.compile("^[\u0648\u0641](?=\u0627\u0644.{3})")
"""`and` or `so` before the article, where the stemmer leaves it."""


def _without_accents(words: list[str]) -> list[str]:
    if all(map(str.isascii, words)):
        return words
    # Latin, Greek and Cyrillic accents go; the marks of other scripts make other letters and stay.
    decomposed = pc.utf8_normalize(to_column(words, pa.string()), "NFKD")
    folded = pc.utf8_normalize(pc.replace_substring_regex(decomposed, "[\u0300-\u036f]+", ""), "NFC")
    return [word if word.isascii() else word.translate(_LATIN_LETTERS) for word in folded.to_pylist()]


_LATIN_LETTERS: dict[int, int | str] = {
    **str.maketrans("øđðłħ\u0131ŋ", "oddlhin"),
    ord("ß"): "ss",
    ord("æ"): "ae",
    ord("œ"): "oe",
    ord("þ"): "th",
}
"""How letters are written where a keyboard lacks them, as Lucene has it."""


def _script(word: str) -> str:
    return _SCRIPTS[place - 1][1] if (place := bisect(_STARTS, ord(word[0]))) else "english"


@cache
def stop_words(language: Language) -> frozenset[str]:
    """Return the stop words of a language; none where no list is known."""
    if language == "english":
        return STOP_WORDS - _CONSONANTS - {"o", "y"}
    from bm25s import stopwords

    listed = getattr(stopwords, f"STOPWORDS_{language.upper()}", ())
    return frozenset(listed) - _CONSONANTS
