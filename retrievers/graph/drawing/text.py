"""Texts of any script as short lines of a known width, without a font."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from itertools import accumulate

_NARROW = frozenset("iljtfrI.,:;'|!()[]{}/\\-` ")
_BROAD = frozenset("mwMW@%—…")
_DIRECTIONS = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
"""Marks that change the direction of the text after them, also beyond their label."""


def clean(text: str) -> str:
    """Return the text in one line, without what XML, terminals and fonts cannot show."""
    return " ".join("".join(letter if _is_shown(letter) else " " for letter in text).split())


def _is_shown(letter: str) -> bool:
    if letter in _DIRECTIONS or ord(letter) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(letter) <= 0xFDEF:
        return False
    return unicodedata.category(letter) not in {"Cc", "Cs"}


def is_right_to_left(text: str) -> bool:
    """Return whether the first letter that has a direction is written from right to left."""
    directions = (unicodedata.bidirectional(letter) for letter in text)
    return next((direction != "L" for direction in directions if direction in {"L", "R", "AL"}), False)


def measure(text: str, size: float, *, bold: bool = False) -> float:
    """Return about how many pixels wide a line is: as in a broad sans serif, so that most fonts need less."""
    return max(_ends(text, size, bold=bold), default=0.0)


def _ends(text: str, size: float, *, bold: bool) -> list[float]:
    """Return where each letter ends."""
    return list(accumulate(_width(letter) * size * (1.08 if bold else 1.0) for letter in text))


def _width(letter: str) -> float:
    """Return the width of a letter in parts of the font's size."""
    if unicodedata.category(letter) in {"Mn", "Me", "Cf"}:
        return 0.0
    if unicodedata.east_asian_width(letter) in {"W", "F"}:
        return 1.0
    if letter in _NARROW:
        return 0.4
    if letter in _BROAD:
        return 0.98
    return 0.72 if letter.isupper() else 0.62


def fit(text: str, size: float, width: float, most: int, *, bold: bool = False) -> list[str]:
    """Return a text as at most so many lines, none wider than `width` pixels; an ellipsis ends what is cut off.

    Lines break between words, or within a word that is wider than a line; marks stay with their letter.
    """
    lines: list[str] = []
    rest = clean(text)
    while rest and len(lines) < most:
        letters = max(bisect_right(_ends(rest, size, bold=bold), width), 1)
        space = rest.rfind(" ", 0, letters + 1)
        cut = space if letters < len(rest) and space > 0 else letters
        lines.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    if rest:
        last = lines.pop()
        while last and measure(last + "…", size, bold=bold) > width:
            last = last[:-1]
        lines.append(last.rstrip() + "…")
    return lines
