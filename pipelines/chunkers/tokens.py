"""The chunker that cuts windows of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from mnemodex.indexers.models.tokenizers import token_offsets, tokenizer
from mnemodex.pipelines.chunkers import Chunker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.schemas.sections import TokenChunks


class TokenChunker(Chunker):
    """Windows of a number of tokens, each sharing some with the one before; the last may be shorter.

    A chunk runs from the first character of its first token to the last character of its last. White space without a
    token between two windows belongs to neither; anything else that the tokenizer drops (combining marks, joiners)
    stays with the window before it, so that the chunks lose no character but white space. An empty text gives the span
    (0, 0), as with `DocumentChunker`, and one without tokens no span.
    """

    def __init__(self, settings: TokenChunks) -> None:
        self.settings = settings
        self._tokenizer = tokenizer(settings.tokenizer)

    @override
    def spans(self, texts: Sequence[str]) -> list[Int64s]:
        size, overlap = self.settings.size, self.settings.overlap
        return [
            token_windows(text, offsets, size=size, overlap=overlap) if text else np.zeros((1, 2), np.int64)
            for text, offsets in zip(texts, token_offsets(self._tokenizer, texts), strict=True)
        ]


def token_windows(text: str, offsets: Int64s, *, size: int, overlap: int) -> Int64s:
    """Cut a text into windows of tokens; return spans of shape (windows, 2), starts and ends both strictly ascending.

    Args:
        text: the text.
        offsets: character offsets of its tokens, shape (tokens, 2).
        size: tokens of a window; a few more where the next window would begin inside a character.
        overlap: tokens shared by neighbours, less than `size`.
    """
    if not len(offsets):
        return np.zeros((0, 2), np.int64)
    starts = np.minimum.accumulate(offsets[::-1, 0])[::-1]
    ends = np.maximum.accumulate(offsets[:, 1])
    # Byte-level tokenizers give several tokens to one character; a window begins and ends at none but the first.
    boundaries = np.concatenate([[0], np.flatnonzero(ends[:-1] <= starts[1:]) + 1, [len(starts)]])
    first, last = _windows(boundaries, size=size, overlap=overlap)
    spans = np.stack([starts[first], ends[last - 1]], axis=1)
    # Characters without a token belong to the window before them, and the first ones of the text to the first window.
    next_start = np.append(starts, len(text))[last]
    for number in np.flatnonzero(next_start > spans[:, 1]).tolist():
        end = int(spans[number, 1])
        spans[number, 1] = end + len(text[end : next_start[number]].rstrip())
    front = text[: spans[0, 0]]
    spans[0, 0] = len(front) - len(front.lstrip())
    return spans


def _windows(boundaries: Int64s, *, size: int, overlap: int) -> tuple[Int64s, Int64s]:
    """Return the first token of each window and the one after its last, both moved up to the next boundary.

    Both move in the same direction, so that neighbours still meet, or overlap, as they should.
    """
    tokens = int(boundaries[-1])
    nominal = np.arange(0, max(tokens - overlap, 1), size - overlap)
    first = boundaries[np.searchsorted(boundaries, nominal)]
    last = boundaries[np.searchsorted(boundaries, np.minimum(nominal + size, tokens))]
    # Moved windows can coincide: of two with one end the earlier is the longer, of two with one start the later.
    longer = np.diff(last, prepend=0) > 0
    first, last = first[longer], last[longer]
    longer = np.diff(first, append=tokens) > 0
    return first[longer], last[longer]
