"""The words around a place in a text."""

from __future__ import annotations

_WORDS, _WIDTH = 8, 160
"""Words before and after a place, and characters within which they are looked for."""


def words_around(text: str, start: int, end: int, *, first: int = 0) -> tuple[str, str]:
    """Return some words before the characters [start, end) of a text, and some after them, with single spaces.

    Nothing before the character `first` is looked at.
    """
    before, after = text[max(start - _WIDTH, first) : start].split(), text[end : end + _WIDTH].split()
    return " ".join(before[-_WORDS:]), " ".join(after[:_WORDS])
