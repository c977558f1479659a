"""A chunker that cuts at blank lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field
from typing_extensions import override

from mnemodex.pipelines.chunkers import Chunker
from mnemodex.schemas.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_BLANK = re.compile(r"\n[ \t]*\n\s*")


class ParagraphSettings(Spec):
    """Settings of `by: paragraphs`.

    Attributes:
        least: characters of a chunk; shorter paragraphs are joined to the next one.
    """

    by: Literal["paragraphs"] = "paragraphs"
    least: int = Field(default=200, ge=1)


class ParagraphChunker(Chunker):
    """Whole paragraphs, short ones joined."""

    def __init__(self, settings: ParagraphSettings) -> None:
        self._least = settings.least

    @override
    def spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        return [self._cut(text) for text in texts]

    def _cut(self, text: str) -> NDArray[np.int64]:
        spans = []
        start = 0
        for blank in _BLANK.finditer(text):
            if blank.start() - start >= self._least and text[start : blank.start()].strip():
                spans.append((start, blank.start()))
                start = blank.end()
        if text[start:].strip() or not spans:
            spans.append((start, len(text)))
        return np.array(spans, np.int64)
