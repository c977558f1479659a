"""Overlapping windows over texts of tokens: every token is predicted once, with tokens before it to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of some texts, in the texts' order.

    Attributes:
        text: the number of each window's text, int64 of shape (n,).
        start: its first token in the text, int64 of shape (n,).
        first: the first token that is predicted in it; those from `start` to there are only read. int64 of shape (n,).
        stop: the token after its last, int64 of shape (n,).
    """

    text: NDArray[np.int64]
    start: NDArray[np.int64]
    first: NDArray[np.int64]
    stop: NDArray[np.int64]

    def __len__(self) -> int:
        """The number of windows."""
        return len(self.text)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """How many tokens are predicted in each window, int64 of shape (n,)."""
        return self.stop - self.first


def windows(lengths: NDArray[np.int64], *, window: int, overlap: int, prefix: int) -> Windows:
    """Cut texts into windows.

    Args:
        lengths: tokens of each text, int64 of shape (texts,).
        window: tokens read at once, the prefix included.
        overlap: of them, read in the window before already.
        prefix: tokens that stand before every window. With none, the first token of a text is read but not predicted.
    """
    first = 0 if prefix else 1
    fresh = window - overlap
    # A window of `window` inputs predicts one token more than it reads anew, except for what stands before it.
    room = window - prefix + 1
    step = max(1, fresh)
    counts = np.where(lengths > first, 1 + np.maximum(0, -(-(lengths - room) // step)), 0)
    text = np.repeat(np.arange(len(lengths), dtype=np.int64), counts)
    number = np.arange(len(text), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    stop = np.minimum(room + number * step, lengths[text])
    before = np.where(number > 0, room + (number - 1) * step, first)
    start = np.maximum(0, np.where(number > 0, number * step, 0))
    return Windows(text, start, before, stop)
