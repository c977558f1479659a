"""The words of texts, as BM25 counts them."""

from __future__ import annotations

import re
from bisect import bisect
from functools import cache
from itertools import accumulate, chain, count, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemodex.indexers.ngram.ragged import spans
from mnemodex.indexers.scripts import APOSTROPHE, BEYOND_LATIN, UNSPACED, bound_marks, fold_signs, grams, letters, marks
from mnemodex.indexers.stems import stems
from mnemodex.schemas.store.columns import to_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mnemodex.indexers.arrays import Int32s, Int64s
    from mnemodex.indexers.settings import Language, Tokenizer


class Words(NamedTuple):
    """The words of some texts.

    Attributes:
        names: the different words, strings of shape (words,).
        ids: the place in `names` of each word of the first text, then of the second, and so on, int64.
        lengths: words of each text, int32 of shape (texts,).
        sizes: how long the texts are to BM25, in words, int32 of shape (texts,). No text is longer for words that are
            others put together (`covid19` besides `covid` and `19`), nor for single digits, as of lists and notes.
    """

    names: pa.StringArray
    ids: Int64s
    lengths: Int32s
    sizes: Int32s


def split_words(texts: Sequence[str], tokenizer: Tokenizer = "words", language: Language = "english") -> Words:
    """Return the words of texts.

    With `words`, those are runs of letters and digits in lower case, stemmed by Snowball, without accents and stop
    words. Words in another script than the language's own are stemmed as of the language that is best known to be
    written in it. Decimals (`3.14`), abbreviations (`U.S.A.`, as `usa`), `C++` and `C#` are one word; `AT&T`, `X-1` (as
    `x1`) and `COVID-19` are words besides their parts, as is a Hebrew word without its prefixes. Where a script sets no
    spaces, and in Korean, each pair of neighbouring characters is a word, and each Chinese character; Korean particles
    are left out. With `whitespace`, words are what is between white space, in lower case, and nothing else is done.
    """
    plain = tokenizer == "whitespace"
    lower = _lower(_normalize(texts), language)
    found = list(map(str.split, lower) if plain else map(_find, map(fold_signs, lower)))
    tokens, places = _number(list(chain.from_iterable(found)))
    # The words of each distinct token, one after the other; a stop word is the empty string, number 0.
    spelled = [([token], []) if plain else _parts(token) for token in tokens]
    words = list(chain.from_iterable(chain.from_iterable(spelled)))
    parts = np.fromiter(map(len, chain.from_iterable(spelled)), np.int64).reshape(len(spelled), 2)
    counted = np.repeat(np.tile([True, False], len(spelled)), parts.ravel())
    counted &= np.fromiter((word not in _DIGITS for word in words), np.bool_, len(words))
    distinct, numbered = _number(words)
    names, stemmed = _number(["", *(distinct if plain else stems(distinct, language))])
    sizes = parts.sum(axis=1)
    positions = spans((np.cumsum(sizes) - sizes)[places], sizes[places])
    ids = stemmed[1:][numbered[positions]]
    text = np.repeat(np.repeat(np.arange(len(found)), list(map(len, found))), sizes[places])
    lengths = np.bincount(text[ids > 0], minlength=len(found)).astype(np.int32)
    own = np.bincount(text[(ids > 0) & counted[positions]], minlength=len(found)).astype(np.int32)
    kept = to_column(names[1:], pa.string())
    return Words(kept, ids[ids > 0] - 1, lengths, np.maximum(own, np.minimum(lengths, 1)))


def as_written(text: str, tokenizer: Tokenizer, language: Language) -> dict[str, str]:
    """Return the words of a text, see `split_words`, as they are first written there; those of a run have no entry."""
    tokens = text.split() if tokenizer == "whitespace" else _find(text)
    words = split_words(tokens, tokenizer, language)
    names, alone = words.names.to_pylist(), np.flatnonzero(words.lengths == 1)
    ids = words.ids[(np.cumsum(words.lengths) - 1)[alone]]
    # The first one counts.
    return {names[word]: tokens[token] for word, token in zip(ids[::-1].tolist(), alone[::-1].tolist(), strict=True)}


def find_words(text: str, wanted: set[str], language: Language) -> list[tuple[int, int]]:
    """Return where words, as `split_words` gives them, are in a text: [start, end) of each place, ascending."""
    tokens = list(_pattern(text).finditer(text))
    words = split_words([token[0] for token in tokens], language=language)
    is_wanted = np.array([name in wanted for name in words.names.to_pylist()], np.bool_)
    holders = np.unique(np.repeat(np.arange(len(tokens)), words.lengths)[is_wanted[words.ids]])
    places: list[tuple[int, int]] = []
    for token in (tokens[number] for number in holders.tolist()):
        inside = _spans(token, wanted) if _RUN.match(token[0]) else []
        for start, end in inside or [token.span()]:
            if places and start <= places[-1][1]:
                places[-1] = places[-1][0], max(end, places[-1][1])
            else:
                places.append((start, end))
    return places


def _spans(run: re.Match[str], wanted: set[str]) -> list[tuple[int, int]]:
    """Return where the characters, and the pairs of them, are in a run that are among some words."""
    marked = letters(run[0])
    placed = list(zip(marked, accumulate(map(len, marked), initial=run.start()), strict=False))
    found = [*placed, *((one + other, start) for (one, start), (other, _) in pairwise(placed))]
    return sorted((start, start + len(gram)) for gram, start in found if gram in wanted)


def _number(words: list[str]) -> tuple[list[str], Int64s]:
    """Return the distinct words in the order in which they come, and the number of each word among them."""
    numbers = dict(zip(dict.fromkeys(words), count(), strict=False))
    return list(numbers), np.fromiter(map(numbers.__getitem__, words), np.int64, len(words))


def _normalize(texts: Sequence[str]) -> Sequence[str]:
    # Most questions are ASCII, which is NFKC: a call of Arrow takes longer than to find their words.
    if all(map(str.isascii, texts)):
        return texts
    return list(pc.utf8_normalize(to_column(map(bound_marks, texts), pa.string()), "NFKC").to_pylist())


def _lower(texts: Sequence[str], language: Language) -> Iterable[str]:
    if language == "turkish":
        texts = [text.replace("I", "\u0131").replace("\u0130", "i") for text in texts]
    return map(str.lower, texts)


@cache
def _letter() -> str:
    """Return the pattern of a letter, digit or mark of scripts with spaces.

    The vowel signs of Indic scripts are marks, which are no letters to Python: words would fall into single letters.
    Python looks up a character in a class at once below 65536; from there on it goes through the ranges, of which there
    are hundreds: so they are a class of their own, and words are found three times as fast.
    """
    runs = re.finditer(rf"(?:(?![{UNSPACED}{_ITERATION}])[\w{marks()}])+", "".join(map(chr, range(0x20000))))
    ranges = [f"{run[0][0]}-{run[0][-1]}" for run in runs]
    first = bisect(ranges, "\uffff")
    return f"(?:[{''.join(ranges[:first])}]|(?![\0-\uffff])[{''.join(ranges[first:])}])"


_ITERATION = "\u3005-\u3007"


def _find(text: str) -> list[str]:
    """Return the words of a text with what joins them, and its runs of scripts without spaces."""
    return _pattern(text).findall(text)


def _pattern(text: str) -> re.Pattern[str]:
    # Without a character of other scripts, `_LATIN` finds the same words in less time.
    return _any_script() if BEYOND_LATIN.search(text) else _LATIN


def _joined(letter: str) -> str:
    """Return the pattern of a word of such letters with what joins them."""
    return rf"{letter}+(?:[.&{APOSTROPHE}\u2010-]{letter}+|(?<=\d),\d+)*(?:\+\+|\#(?!\w))?"


_LATIN = re.compile(_joined(r"\w"))


@cache
def _any_script() -> re.Pattern[str]:
    return re.compile(f"{_joined(_letter())}|[{UNSPACED}{_ITERATION}]+")


_RUN = re.compile(f"[{UNSPACED}{_ITERATION}]+")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_DECIMAL = re.compile(r"\d+(?:\.\d+)+")
_ABBREVIATION = re.compile(r"(?<![^.,])[^\W\d_](?:\.[^\W\d_])+(?![^.,])")
_CONTRACTION = re.compile(rf"[{APOSTROPHE}](?:s|t|d|m|ll|re|ve)$")
_JOINT = re.compile(rf"[&{APOSTROPHE}\u2010-]")
_DIGITS = frozenset("0123456789")
_HYPHEN = re.compile("[\u2010-]")
_HEBREW_PREFIX = re.compile("^(?:\u05d5?(?:לכש|כש|מש|ש)?[הבלכמ]?)(?=.{3})")
_ELISION = re.compile(rf"^(?:[cdjlmnost]|qu)[{APOSTROPHE}]")


def _parts(token: str) -> tuple[list[str], list[str]]:
    """Return the words of a token in lower case, and those that overlap them: of a run, or of what signs join."""
    if _RUN.match(token):
        return grams(token)
    if token.isalnum():
        bare = _HEBREW_PREFIX.sub("", token) if "\u05d0" <= token[0] <= "\u05ea" else token
        return [token], [bare] if bare != token else []
    if token[-1] in "+#":
        base = token.rstrip("+#")
        return ([token], []) if len(base) == 1 else ([*chain(*_parts(base))], [token])
    bare = _ELISION.sub("", _CONTRACTION.sub("", token))
    pieces = _JOINT.split(bare)
    words = list(chain.from_iterable(map(_number_or_words, pieces)))
    short = any(len(piece) == 1 or any(map(str.isdecimal, piece)) for piece in pieces)
    joined = len(pieces) > 1 and ("&" in bare or short) and not any(sign in bare for sign in APOSTROPHE)
    return words, [_HYPHEN.sub("", bare)] if joined else []


def _number_or_words(piece: str) -> list[str]:
    if _THOUSANDS.fullmatch(piece):
        return [piece.replace(",", "")]
    if _DECIMAL.fullmatch(piece):
        return [piece]
    return re.split(r"[.,]", _ABBREVIATION.sub(lambda letters: letters[0].replace(".", ""), piece))
