"""The chunker that cuts Markdown at its headings."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from mnemodex.indexers.models.tokenizers import token_offsets, tokenizer
from mnemodex.pipelines.chunkers import Chunker
from mnemodex.pipelines.chunkers.units import EMPTY, NOTHING, pack_units, trimmed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.schemas.sections import HeadingChunks

# A parser of Markdown takes some three seconds for a megabyte, six times as long as the tokenizer.
_BLOCKS = re.compile(
    r"^ {0,3}(?P<fence>`{3,}(?=[^`\n]*$)|~{3,})[\s\S]*?(?:^ {0,3}(?P=fence)|\Z)"
    r"|(?P<heading>^ {0,3}(?:\#{1,6}(?:[ \t].*)?$|(?![-*+>#|=`~]|\d+[.)])\S.*\n {0,3}(?:={2,}|-{2,})[ \t]*$))"
    r"|(?P<blank>\n[ \t]*\n)",
    re.MULTILINE,
)
"""A fenced code block, in which nothing is a heading; a heading, marked in front or underlined; an empty line."""


class HeadingChunker(Chunker):
    """Sections, each from its heading to the next one; a heading that another follows at once begins with that.

    A section of more tokens than a chunk has is cut between paragraphs, and a longer paragraph into windows of tokens.
    """

    def __init__(self, settings: HeadingChunks) -> None:
        self.settings = settings
        self._tokenizer = tokenizer(settings.tokenizer)

    @override
    def spans(self, texts: Sequence[str]) -> list[Int64s]:
        offsets = token_offsets(self._tokenizer, texts)
        return [self._cut(text, tokens) if text else EMPTY.copy() for text, tokens in zip(texts, offsets, strict=True)]

    def _cut(self, text: str, offsets: Int64s) -> Int64s:
        chunks = [
            pack_units(text, trimmed(text, pairwise(bounds)), offsets, size=self.settings.size)
            for bounds in _sections(text)
        ]
        return np.concatenate(chunks) if chunks else NOTHING


def _sections(text: str) -> list[list[int]]:
    """Return for each section where its paragraphs begin, and its end."""
    sections, body = [[0]], 0
    for block in _BLOCKS.finditer(text):
        if block["heading"] is not None:
            # Only headings so far: they belong to what follows.
            if text[body : block.start()].strip():
                sections[-1].append(block.start())
                sections.append([block.start()])
            body = block.end()
        elif block["blank"] is not None and text[body : block.start()].strip():
            sections[-1].append(block.end())
    sections[-1].append(len(text))
    return sections
