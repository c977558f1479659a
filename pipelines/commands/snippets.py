"""The part of a hit's text that people see: where it matches the question, cut between words."""

from __future__ import annotations

import re
import unicodedata
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from mnemodex.indexers.words import find_words, split_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.indexers.settings import Language
    from mnemodex.retrievers.hits import Reason

_COLUMNS, _BEFORE = 160, 40
"""Columns of a terminal that a snippet takes at the most, and those in front of its first match."""
_WORD = 30
"""Letters of the longest word that is not cut."""
_BLOCK, _READ = 1 << 13, 1 << 18
"""Letters in which the first match is looked for at once, and in all: a chunk may be a book."""
_JOINER, _TONES = "\u200d", "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
"""What joins emoji to one, and what follows one as its colour of skin."""


def snippet(
    text: str, question: str, reasons: Sequence[Reason], *, language: Language
) -> Iterator[str | tuple[str, str]]:
    """Yield the parts of a text around the first match, the question's words in bold.

    The match is the strongest reason that is in the text, else the first of the question's words.
    """
    text = _joined(text)
    asked = set(split_words([question], language=language).names.to_pylist())
    start, before = _first(text, asked, language), _BEFORE
    for reason in reasons:
        quoted = re.search(rf"(?<!\w){re.escape(_joined(reason.text))}(?!\w)", text, re.IGNORECASE)
        if quoted and quoted[0]:
            start, before = quoted.start(), 0 if reason.kind == "sentence" else _BEFORE
            break
    begin, end = _window(text, start, before)
    words = find_words(text[begin:end], asked, language)
    cuts = [begin, *(begin + place for span in words for place in span), end]
    if begin:
        yield "…"
    for number, (first, last) in enumerate(pairwise(cuts)):
        if first < last:
            yield (text[first:last], "bold") if number % 2 else text[first:last]
    if end < len(text):
        yield "…"


def _first(text: str, words: set[str], language: Language) -> int:
    """Return where the first of some words is in a text; 0 where none is."""
    for start in range(0, min(len(text), _READ), _BLOCK):
        if spans := find_words(text[start : start + _BLOCK + _WORD], words, language):
            return start + spans[0][0]
    return 0


def shorten(text: str) -> str:
    """Return a text in one line, cut to the columns of a snippet."""
    text = _joined(text)
    _, end = _window(text, 0, 0)
    return text if end == len(text) else f"{text[:end]}…"


def _joined(text: str) -> str:
    return " ".join(text.split())


def _window(text: str, start: int, before: int) -> tuple[int, int]:
    """Return the part of a text, [begin, end), that is shown of it: some columns in front of a match, and after it."""
    if _fitting(text, _COLUMNS) == len(text):
        return 0, len(text)
    begin = start - _fitting(text[:start][: -_letters(before) - 1 : -1], before)
    if begin and text[begin - 1] != " ":
        space = text.find(" ", begin, min(begin + _WORD, start))
        begin = space + 1 if space >= 0 else begin
        while begin < start and _is_within(text, begin):
            begin += 1
    # An ellipsis may be on each side.
    end = begin + _fitting(text[begin:], _COLUMNS - 2)
    if end < len(text) and text[end] != " ":
        space = text.rfind(" ", max(end - _WORD, start + 1), end)
        end = space if space >= 0 else end
        while end > start + 1 and _is_within(text, end):
            end -= 1
    return begin, end


def _fitting(text: str, columns: int) -> int:
    """Return how many of the first letters of a text fit into some columns."""
    from rich.cells import cell_len

    return sum(width <= columns for width in accumulate(map(cell_len, text[: _letters(columns)])))


def _letters(columns: int) -> int:
    """Return how many letters are looked at for some columns: marks take none."""
    return 4 * columns + 1


def _is_within(text: str, place: int) -> bool:
    """Whether what is at a place belongs to the letter in front of it."""
    return (
        unicodedata.category(text[place]).startswith("M")
        or _JOINER in text[place - 1 : place + 1]
        or text[place] in _TONES
    )
