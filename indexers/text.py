"""The texts of chunks, and batches of texts of like length, so that little of a model's work is spent on padding."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

    from mnemodex.indexers.arrays import Int32s, Int64s

_T = TypeVar("_T")

MAX_PADDING = 1.15
"""Padded over real tokens that a batch may reach."""


def passages(batch: pa.RecordBatch | pa.Table, *, with_title: bool = True) -> list[str]:
    """Title, a line end and text of each chunk; the text alone where there is no title or `with_title` is off."""
    texts: list[str] = batch["text"].to_pylist()
    if not with_title:
        return texts
    titles = batch["title"].to_pylist()
    return [f"{title}\n{text}" if title else text for title, text in zip(titles, texts, strict=True)]


def length_buckets(lengths: Int64s, *, max_tokens: int, min_rows: int = 8) -> Iterator[Int64s]:
    """Yield batches of texts by their lengths in tokens, as positions, int64 of shape (rows,).

    The longest come first, so that too large a batch fails at once, not after an hour. A batch ends when its padded
    size (rows times longest text) would pass `max_tokens`, or when its padding would pass `MAX_PADDING`, but it holds
    at least `min_rows` rows where they fit: tiny batches cost more than padding.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        ahead = lengths[order[start:]]
        longest = max(int(ahead[0]), 1)
        real = np.cumsum(ahead[: max(max_tokens // longest, 1)])
        padded = longest * np.arange(1, len(real) + 1)
        over = np.flatnonzero(padded > MAX_PADDING * real)
        rows = max(int(over[0]) if len(over) else len(real), min(min_rows, len(real)))
        yield order[start : start + rows]
        start += rows


def one_ahead(items: Iterable[_T]) -> Iterator[_T]:
    """Yield items, each once the one after it is made, which may have begun its work meanwhile."""
    made: deque[_T] = deque()
    for item in items:
        made.append(item)
        if len(made) == 2:
            yield made.popleft()
    yield from made


def pad(rows: Sequence[list[int] | Int32s], width: int, *, left: bool = False, fill: int = 0) -> tuple[Int64s, Int64s]:
    """Return token ids of rows, padded to one width, and their mask: int64 of shape (rows, width), 1 for a token."""
    ids, mask = np.full((len(rows), width), fill, np.int64), np.zeros((len(rows), width), np.int64)
    for row, tokens in enumerate(rows):
        columns = slice(width - len(tokens), width) if left else slice(0, len(tokens))
        ids[row, columns], mask[row, columns] = tokens, 1
    return ids, mask
