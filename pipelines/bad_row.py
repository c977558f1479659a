"""Rows that cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

_CHARACTERS = 200
LEFT_OUT = "decontaminate"
"""The stage of rows of `errors` that are no errors: documents that were left out because an evaluation has them."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row of a source's file, or of an extractor, that could not be used; it goes to the table `errors`.

    The reason says what to do too, and the content is the beginning of the row.
    """

    source: str
    line: int
    reason: str
    content: str = ""

    @property
    def shown(self) -> str:
        """Where it is and why, for a message."""
        return f"{self.source} line {self.line}: {self.reason}"

    @classmethod
    def of(cls, source: str, line: int, reason: str, row: bytes | str) -> Self:
        """Return a bad row with the first 200 characters of it, in valid UTF-8."""
        # A character has at most four bytes in UTF-8, and the escape of a byte four characters.
        text = row[: 4 * _CHARACTERS].decode("utf-8", "backslashreplace") if isinstance(row, bytes) else row
        return cls(source, line, reason, text[:_CHARACTERS].encode("utf-8", "replace").decode())
