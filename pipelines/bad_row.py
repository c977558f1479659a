"""Rows that cannot be used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row of a source or of an extractor that could not be used; it goes to the table `errors`.

    Attributes:
        source: the file where it is.
        line: its line there.
        reason: why it is bad.
        content: the beginning of it.
    """

    source: str
    line: int
    reason: str
    content: str = ""
