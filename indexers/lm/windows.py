"""Overlapping windows over texts of tokens: every token is predicted once, with tokens before it to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Int64s


@dataclass(frozen=True, slots=True)
class Windows:
    """The n windows of some texts, in the texts' order; all arrays are int64 of shape (n,).

    A model is given the prefix and `text[start:stop]`: it reads all of them but the last, and predicts those from
    `first` on; those before are only read.
    """

    text: Int64s
    start: Int64s
    first: Int64s
    stop: Int64s

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.text)

    @property
    def predicted(self) -> Int64s:
        """How many tokens are predicted in each window."""
        return self.stop - self.first


def windows(lengths: Int64s, *, window: int, overlap: int, prefix: int) -> Windows:
    """Cut texts into windows by their lengths in tokens; a prefix that leaves no room is a `ModelError`.

    Args:
        lengths: tokens of each text, int64 of shape (texts,).
        window: tokens that are read at once, the prefix among them.
        overlap: of those, how many the window before has read already, the prefix among them too; less than `window`.
            So every token has at least as many before it, where its text has them.
        prefix: tokens that stand before every window. With none, the first token of a text is read but not predicted.
    """
    if prefix >= window:
        raise ModelError(
            f"the model's tokenizer puts {prefix} tokens before every text, and `window` is {window}: make it larger"
        )
    # The last token that is predicted in a window is not read there, so a window has one more than it reads.
    room = window - prefix + 1
    step = window - max(overlap, prefix)
    opening = 0 if prefix else 1
    more = np.maximum(0, -(-(lengths - room) // step))
    counts = np.where(lengths > opening, 1 + more, 0)
    text = np.repeat(np.arange(len(lengths), dtype=np.int64), counts)
    number = np.arange(len(text), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    start = number * step
    first = np.where(number > 0, start + room - step, opening)
    return Windows(text, start, first, np.minimum(start + room, lengths[text]))
