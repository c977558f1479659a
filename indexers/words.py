"""The words of texts, as BM25 counts them."""

from __future__ import annotations

import re
from bisect import bisect
from functools import cache
from itertools import chain, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemodex.indexers.ngram.ragged import spans
from mnemodex.indexers.scripts import UNSPACED, marks
from mnemodex.schemas.store.columns import numbers, to_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Int32s, Int64s
    from mnemodex.indexers.settings import Language, Tokenizer

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
    (0x590, ""),
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
_OWN_SCRIPT = {
    **{language: language for language in ("arabic", "armenian", "greek", "hindi", "russian", "tamil")},
    "nepali": "hindi",
    "persian": "arabic",
    "serbian": "russian",
    "yiddish": "",
}
"""The script, by its name above, of languages that are not written in Latin letters."""


class Words(NamedTuple):
    """The words of some texts.

    Attributes:
        names: the different words, strings of shape (words,).
        ids: the place in `names` of each word of the first text, then of the second, and so on, int64.
        lengths: words of each text, int32 of shape (texts,).
    """

    names: pa.StringArray
    ids: Int64s
    lengths: Int32s


def split_words(texts: Sequence[str], tokenizer: Tokenizer = "words", language: Language = "english") -> Words:
    """Return the words of texts.

    With `words`, those are runs of letters and digits in lower case, stemmed by Snowball, without accents and stop
    words. Words in another script than the language's own are stemmed as of the language that is best known to be
    written in it. Decimals (`3.14`), abbreviations (`U.S.A.`, as `usa`), `C++` and `C#` are one word; `AT&T`, `X-1` and
    `COVID-19` are words besides their parts. Where a script sets no spaces, and in Korean, each pair of neighbouring
    characters is a word, and each Han or Hangul character. With `whitespace`, words are what is between white space, in
    lower case, and nothing else is done.
    """
    plain = tokenizer == "whitespace"
    normal = [text.lower() for text in pc.utf8_normalize(to_column(texts, pa.string()), "NFKC").to_pylist()]
    found = list(map(str.split if plain else _find, normal))
    tokens = to_column(list(chain.from_iterable(found)), pa.string()).dictionary_encode()
    spelled = [[token] if plain else _parts(token) for token in tokens.dictionary.to_pylist()]
    words = list(chain.from_iterable(spelled))
    stems = to_column(words if plain else _stems(words, language), pa.string()).dictionary_encode()
    # The words of each distinct token, one after the other; a stop word is the empty string.
    own, sizes = numbers(stems.indices).astype(np.int64), np.fromiter(map(len, spelled), np.int64, len(spelled))
    places = numbers(tokens.indices)
    ids = own[spans((np.cumsum(sizes) - sizes)[places], sizes[places])]
    text = np.repeat(np.repeat(np.arange(len(found)), list(map(len, found))), sizes[places])
    meaningful = numbers(pc.binary_length(stems.dictionary)) > 0
    kept = meaningful[ids]
    number = np.cumsum(meaningful) - 1
    lengths = np.bincount(text[kept], minlength=len(found)).astype(np.int32)
    left = to_column(np.flatnonzero(meaningful), pa.int64())
    return Words(stems.dictionary.take(left), number[ids[kept]], lengths)


def _stems(words: list[str], language: Language) -> list[str]:
    """Return the stems of words, empty for stop words."""
    stop, own = stop_words(language), _OWN_SCRIPT.get(language, "english")
    scripts = list(map(_script, words))
    stems = [""] * len(words)
    for script in set(scripts):
        rows = [row for row, (word, known) in enumerate(zip(words, scripts, strict=True)) if known == script]
        rows = [row for row in rows if words[row] not in stop]
        stemmed = _stemmed([words[row] for row in rows], language if script == own else script)
        for row, stem in zip(rows, stemmed, strict=True):
            stems[row] = stem
    return stems


def _stemmed(words: list[str], language: str) -> list[str]:
    """Return the stems of words without accents."""
    import Stemmer

    if language == "english":
        # A foreign word may be written without them: the stem must not depend on that.
        words = _without_accents(words)
    stemmer = Stemmer.Stemmer(language) if language else None
    return _without_accents(stemmer.stemWords(words) if stemmer else words)


def _without_accents(words: list[str]) -> list[str]:
    # Latin, Greek and Cyrillic accents go; the marks of other scripts make other letters and stay.
    decomposed = pc.utf8_normalize(to_column(words, pa.string()), "NFKD")
    folded = pc.utf8_normalize(pc.replace_substring_regex(decomposed, "[\u0300-\u036f]+", ""), "NFC")
    return list(folded.to_pylist())


def _script(word: str) -> str:
    return _SCRIPTS[place - 1][1] if (place := bisect(_SCRIPTS, ord(word[0]), key=lambda row: row[0])) else "english"


@cache
def stop_words(language: Language) -> frozenset[str]:
    """Return the stop words of a language; none where no list is known."""
    if language == "english":
        return STOP_WORDS - _CONSONANTS - {"o", "y"}
    from bm25s import stopwords

    listed = getattr(stopwords, f"STOPWORDS_{language.upper()}", ())
    return frozenset(listed) - _CONSONANTS


@cache
def _letters() -> str:
    """Return the letters, digits and marks of scripts with spaces, as in a class of a regular expression.

    The vowel signs of Indic scripts are marks, which are no letters to Python: words would fall into single letters.
    """
    inside = re.compile(rf"[^\W{UNSPACED}{_ITERATION}]|[{marks()}]")
    unspaced = re.compile(rf"[{UNSPACED}{_ITERATION}]")
    points = [n for n in range(0x20000) if inside.match(chr(n)) and not unspaced.match(chr(n))]
    cuts = np.flatnonzero(np.diff(points) > 1) + 1
    return "".join(f"{chr(part[0])}-{chr(part[-1])}" for part in np.split(np.array(points), cuts))


_ITERATION = "\u3005-\u3007"
_APOSTROPHE = "'\u2019"


def _find(text: str) -> list[str]:
    """Return the words of a text with what joins them, and its runs of scripts without spaces."""
    latin, any_script = _patterns()
    return (any_script if _OTHER.search(text) else latin).findall(text)


_OTHER = re.compile("[\u0300-\u1fff\u2c00-\U0010ffff]")
"""Characters that are not of Latin texts. In these, Python's own class of letters finds words four times as fast."""


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return what is a word of Latin texts, whose letters Python knows, and of texts in any script."""
    latin, any_script = (
        rf"{letter}+(?:[.&{_APOSTROPHE}\u2010-]{letter}+|(?<=\d),\d+)*(?:\+\+|\#(?!\w))?"
        for letter in (r"\w", f"[{_letters()}]")
    )
    return re.compile(latin), re.compile(f"{any_script}|[{UNSPACED}{_ITERATION}]+")


_RUN = re.compile(f"[{UNSPACED}{_ITERATION}]+")
_ALONE = re.compile("[\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]")
"""Characters that are words of their own, too."""
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_DECIMAL = re.compile(r"\d+(?:\.\d+)+")
_ABBREVIATION = re.compile(r"(?<![^.,])[^\W\d_](?:\.[^\W\d_])+(?![^.,])")
_CONTRACTION = re.compile(rf"[{_APOSTROPHE}](?:s|t|d|m|ll|re|ve)$")
_ELISION = re.compile(rf"^(?:[cdjlmnost]|qu)[{_APOSTROPHE}]")


def _parts(token: str) -> list[str]:
    """Return the words of a token in lower case: of a run, of what signs join, or itself."""
    if token.isascii() and token.isalnum():
        return [token]
    if _RUN.match(token):
        return _grams(token)
    if token[-1] in "+#":
        base = token.rstrip("+#")
        return [token] if len(base) == 1 else [*_parts(base), token]
    bare = _ELISION.sub("", _CONTRACTION.sub("", token))
    pieces = re.split(rf"[&{_APOSTROPHE}\u2010-]", bare)
    words = list(chain.from_iterable(map(_number_or_words, pieces)))
    short = any(len(piece) == 1 or any(map(str.isdecimal, piece)) for piece in pieces)
    if len(pieces) > 1 and ("&" in bare or short) and not re.search(rf"[{_APOSTROPHE}]", bare):
        words.append(bare.replace("\u2010", "-"))
    return words


def _number_or_words(piece: str) -> list[str]:
    if _THOUSANDS.fullmatch(piece):
        return [piece.replace(",", "")]
    if _DECIMAL.fullmatch(piece):
        return [piece]
    return re.split(r"[.,]", _ABBREVIATION.sub(lambda letters: letters[0].replace(".", ""), piece))


def _grams(run: str) -> list[str]:
    """Return each pair of neighbouring characters, which are letters with their marks, and each that stands alone."""
    letters = re.findall(rf"[^{marks()}][{marks()}]*|[{marks()}]+", run)
    if len(letters) == 1:
        return letters
    return [one + other for one, other in pairwise(letters)] + _ALONE.findall(run)
