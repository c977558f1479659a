"""Texts of any script as short lines of a known width, without a font."""

from __future__ import annotations

import unicodedata

_LONGEST = 1000
"""Letters of a text that are looked at: no box shows more."""
_ELLIPSIS = "…"
_NARROW = frozenset("iljtfrI.,:;'|!()[]{}/\\-` ")
_BROAD = frozenset("mwMW@%—…")
_STEERING = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
"""They turn the direction of what follows them, beyond the label that they stand in."""


def clean(text: str) -> str:
    """The text in one line, without what XML, terminals and fonts cannot show."""
    return " ".join("".join(letter if _is_shown(letter) else " " for letter in text).split())


def _is_shown(letter: str) -> bool:
    if letter in _STEERING or ord(letter) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(letter) <= 0xFDEF:
        return False
    return unicodedata.category(letter) not in {"Cc", "Cs"}


def measure(text: str, size: float, *, bold: bool = False) -> float:
    """About how wide a line is in pixels: as in a broad sans serif, so that most fonts need less."""
    return sum(map(_width, text)) * size * (1.08 if bold else 1.0)


def _width(letter: str) -> float:
    """In parts of the font's size."""
    if unicodedata.category(letter) in {"Mn", "Me", "Cf"}:
        return 0.0
    if unicodedata.east_asian_width(letter) in {"W", "F"}:
        return 1.0
    if letter in _NARROW:
        return 0.4
    if letter in _BROAD:
        return 0.98
    return 0.72 if letter.isupper() else 0.62


def is_right_to_left(text: str) -> bool:
    """Whether the first letter that has a direction is written from right to left."""
    directions = (unicodedata.bidirectional(letter) for letter in text)
    return next((one in {"R", "AL"} for one in directions if one in {"L", "R", "AL"}), False)


def fit(text: str, size: float, width: float, lines: int, *, bold: bool = False) -> list[str]:
    """Break a text into lines between words, or within a word that is too long; an ellipsis ends what is cut off.

    Args:
        text: any text.
        size: the font's, in pixels.
        width: of a line, in pixels.
        lines: the most lines.
        bold: whether it is set so.
    """
    words = clean(text[:_LONGEST]).split(" ")
    cut = len(text) > _LONGEST
    found: list[str] = []
    line = ""
    for word in words:
        joined = f"{line} {word}" if line else word
        if measure(joined, size, bold=bold) <= width:
            line = joined
            continue
        if line:
            found.append(line)
        *whole, line = _broken(word, size, width, bold=bold)
        found.extend(whole)
        if len(found) > lines:
            break
    found.append(line)
    if len(found) > lines or cut:
        found = found[:lines]
        found[-1] = _shortened(found[-1], size, width, bold=bold)
    return [one for one in found if one]


def _broken(word: str, size: float, width: float, *, bold: bool) -> list[str]:
    """A word in pieces that are no wider; marks stay with their letter."""
    pieces, piece, filled = [], "", 0.0
    for letter in word:
        more = measure(letter, size, bold=bold)
        if piece and more and filled + more > width:
            pieces.append(piece)
            piece, filled = "", 0.0
        piece, filled = piece + letter, filled + more
    return [*pieces, piece]


def _shortened(line: str, size: float, width: float, *, bold: bool) -> str:
    while line and measure(line + _ELLIPSIS, size, bold=bold) > width:
        line = line[:-1]
    return line.rstrip() + _ELLIPSIS
