"""The chunker that cuts windows of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.models.tokenizers import token_offsets, tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnemodex.schemas.chunks import TokenChunks


class TokenChunker:
    """Windows of a number of tokens, each sharing some with the one before; the last may be shorter.

    A chunk runs from the first character of its first token to the last character of its last. What lies between two
    windows and has no token belongs to none if it is white space; anything else that the tokenizer drops (combining
    marks, joiners) stays with the window before it, so that the chunks lose no character but white space.

    Raises:
        ModelError: there is no such tokenizer.
    """

    def __init__(self, settings: TokenChunks) -> None:
        self.settings = settings
        self._tokenizer = tokenizer(settings.tokenizer)

    def spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """See `Chunker.spans`; an empty text gives (0, 0) as with `DocumentChunker`, one without tokens nothing."""
        size, overlap = self.settings.size, self.settings.overlap
        return [
            token_windows(text, offsets, size=size, overlap=overlap) if text else np.zeros((1, 2), np.int64)
            for text, offsets in zip(texts, token_offsets(self._tokenizer, texts), strict=True)
        ]


def token_windows(text: str, offsets: NDArray[np.int64], *, size: int, overlap: int) -> NDArray[np.int64]:
    """Cut a text into windows of tokens.

    Args:
        text: the text.
        offsets: character offsets of its tokens, shape (tokens, 2).
        size: tokens of a window; a few more where the next window would begin inside a character.
        overlap: tokens shared by neighbours, less than `size`.

    Returns:
        Spans of shape (windows, 2), starts and ends both strictly ascending.
    """
    if not len(offsets):
        return np.zeros((0, 2), np.int64)
    starts = np.minimum.accumulate(offsets[::-1, 0])[::-1]
    ends = np.maximum.accumulate(offsets[:, 1])
    first, last = _windows(_boundaries(starts, ends), size=size, overlap=overlap)
    spans = np.stack([starts[first], ends[last - 1]], axis=1)
    _keep_tokenless(text, spans, np.append(starts, len(text))[last])
    return spans


def _boundaries(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.intp]:
    """Tokens before which a window may begin or end: all but those that share a character with one before.

    Byte-level tokenizers give several tokens to one character.

    Args:
        starts: the first character of each token and all after it, ascending.
        ends: the last character of each token and all before it, ascending.
    """
    return np.concatenate([[0], np.flatnonzero(ends[:-1] <= starts[1:]) + 1, [len(starts)]])


def _windows(boundaries: NDArray[np.intp], *, size: int, overlap: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First token of each window and the one after its last, both moved up to the next boundary.

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


def _keep_tokenless(text: str, spans: NDArray[np.int64], following: NDArray[np.int64]) -> None:
    """Extend spans, in place, over characters without a token: to the token that follows, and the first to the front.

    Args:
        text: the text.
        spans: shape (windows, 2).
        following: for each window the first character of the token after it, or the text's length.
    """
    for number in np.flatnonzero(following > spans[:, 1]).tolist():
        end = int(spans[number, 1])
        spans[number, 1] = end + len(text[end : following[number]].rstrip())
    front = text[: spans[0, 0]]
    spans[0, 0] = len(front) - len(front.lstrip())
