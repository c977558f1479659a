"""Units of a text, such as sentences, packed into chunks of a number of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.pipelines.chunkers.tokens import token_windows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mnemodex.indexers.arrays import Int64s

NOTHING = np.zeros((0, 2), np.int64)
EMPTY = np.zeros((1, 2), np.int64)
"""The span of an empty text, whose title may be worth finding."""


def trimmed(text: str, bounds: Iterable[tuple[int, int]]) -> Int64s:
    """Return spans without the white space at their ends, shape (spans, 2); those of white space are left out."""
    found = []
    for start, end in bounds:
        part = text[start:end]
        left = len(part) - len(part.lstrip())
        if left < len(part):
            found.append((start + left, start + len(part.rstrip())))
    return np.array(found, np.int64).reshape(-1, 2)


def pack_units(text: str, units: Int64s, offsets: Int64s, *, size: int) -> Int64s:
    """Pack units into spans of at most `size` tokens, as many as fit into each; return them, shape (chunks, 2).

    A unit of more tokens is cut into windows of tokens.

    Args:
        text: the text.
        units: character spans, shape (units, 2), ascending and apart, without white space at their ends.
        offsets: of the text's tokens, shape (tokens, 2).
        size: tokens of a chunk.
    """
    if not len(units) or not len(offsets):
        return NOTHING
    # A token that reaches over an end is of the unit where it begins.
    starts = np.minimum.accumulate(offsets[::-1, 0])[::-1]
    first_token = np.searchsorted(starts, units[:, 0])
    last_token = np.searchsorted(starts, units[:, 1])
    chunks: list[Int64s] = []
    first = 0
    while first < len(units):
        behind = int(np.searchsorted(last_token, first_token[first] + size, side="right"))
        if behind > first:
            chunks.append(np.array([[units[first, 0], units[behind - 1, 1]]], np.int64))
            first = behind
            continue
        start, end = units[first].tolist()
        inside = offsets[first_token[first] : last_token[first]]
        part = np.clip(inside - start, 0, end - start)
        chunks.append(token_windows(text[start:end], part, size=size, overlap=0) + start)
        first += 1
    return np.concatenate(chunks)
