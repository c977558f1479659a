"""Length-bucketed batches: texts of like length together, so that little of the model's work is spent on padding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MAX_PADDING = 1.15
"""Padded over real tokens that a batch may reach."""


def length_buckets(lengths: NDArray[np.int64], *, max_tokens: int, min_rows: int = 8) -> Iterator[NDArray[np.int64]]:
    """Cut texts into batches, longest first (so that too large a batch fails at once, not after an hour).

    A batch ends when its padded size would pass `max_tokens`, or when its padding would pass `MAX_PADDING`, but it
    holds at least `min_rows` rows where they fit: tiny batches cost more than padding.

    Args:
        lengths: tokens of each text, shape (n,).
        max_tokens: rows times longest text in a batch.
        min_rows: rows before padding ends a batch.

    Yields:
        Positions of the batch's texts, int64 of shape (rows,).
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        ahead = lengths[order[start:]]
        longest = max(int(ahead[0]), 1)
        fits = max(max_tokens // longest, 1)
        real = np.cumsum(ahead[:fits])
        padded = longest * np.arange(1, len(real) + 1)
        over = np.flatnonzero(padded > MAX_PADDING * real)
        rows = max(int(over[0]) if len(over) else len(real), min(min_rows, len(real)))
        yield order[start : start + rows]
        start += rows
