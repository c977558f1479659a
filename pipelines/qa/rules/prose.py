"""Running text inside a chunk: paragraphs in which white space is one blank, and where their characters were."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.indexers.arrays import Int64s

_BREAK = re.compile(r"\n[^\S\n]*(?:\n\s*|(?=(?:[*\-+\u2022]|\d{1,3}[.)]|>>>|\.\.)\s))")
_WORD = re.compile(r"\S+")
_ITEM = re.compile(r"\s*(?:[*\-+\u2022]|\d{1,3}[.)])\s")
_LETTERS = re.compile(r"[^\W\d_]{2,}")
_SHORTEST = 20
"""Characters of a paragraph that can say something."""
_LONGEST = 20_000
"""Characters that are parsed at once: the parser's memory grows with them."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph of a text; `starts` are the places of its words in the text, `begins` those in the paragraph."""

    text: str
    starts: Int64s
    begins: Int64s

    def place(self, character: int) -> int:
        """Return the place in the chunk's text of a character, which is no blank, of the paragraph's."""
        word = int(np.searchsorted(self.begins, character, "right")) - 1
        return int(self.starts[word]) + character - int(self.begins[word])


def paragraphs(text: str) -> Iterator[Paragraph]:
    """Yield the paragraphs of a text that have a few words, those that are very long in pieces."""
    start = 0
    for end, after in [*((found.start(), found.end()) for found in _BREAK.finditer(text)), (len(text), len(text))]:
        item = _ITEM.match(text, start, end)
        words = list(_WORD.finditer(text, item.end() if item else start, end))
        start = after
        piece: list[re.Match[str]] = []
        size = 0
        for word in words:
            if piece and size + len(word[0]) > _LONGEST:
                yield from _paragraph(piece)
                piece, size = [], 0
            piece.append(word)
            size += len(word[0]) + 1
        yield from _paragraph(piece)


def _paragraph(words: list[re.Match[str]]) -> Iterator[Paragraph]:
    text = " ".join(word[0] for word in words)
    # One word of this length is no word, and the parser's memory grows with it.
    if _SHORTEST <= len(text) <= _LONGEST and len(_LETTERS.findall(text)) > 2:
        lengths = np.array([len(word[0]) + 1 for word in words], np.int64)
        starts = np.array([word.start() for word in words], np.int64)
        yield Paragraph(text, starts, np.cumsum(lengths) - lengths)
