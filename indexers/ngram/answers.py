"""What an n-gram index answers with, and how what its shards find is brought together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.ngram.ragged import spans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_ROOM = 1 << 17
"""Rows or tree nodes worked on at a time, unless a single n-gram has more: a few MiB of scratch."""

NOTHING = np.empty(0, dtype=np.int64)


class Continuations(NamedTuple):
    """What follows each range, the ends of documents left out: of range i, the elements `offsets[i]:offsets[i + 1]`."""

    offsets: NDArray[np.int64]
    tokens: NDArray[np.int64]
    """Token ids, ascending for each range."""
    counts: NDArray[np.int64]


class Occurrences(NamedTuple):
    """Where each n-gram occurs, in the order of the corpus: of n-gram i, the elements `offsets[i]:offsets[i + 1]`."""

    offsets: NDArray[np.int64]
    documents: NDArray[np.int64]
    positions: NDArray[np.int64]
    """Offsets of the n-gram's first token in its document, in tokens."""


class DocumentCounts(NamedTuple):
    """The documents of each n-gram: of n-gram i, the elements `offsets[i]:offsets[i + 1]`."""

    offsets: NDArray[np.int64]
    documents: NDArray[np.int64]
    """Ascending for each n-gram."""
    counts: NDArray[np.int64]


def offsets_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where rows of these lengths begin one after the other, and where the last ends: int64 of shape (rows + 1,)."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def parts_of(sizes: NDArray[np.int64]) -> Iterator[slice]:
    """Cut queries into runs whose sizes add up to `_ROOM` at most, or of one query."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _ROOM, side="right")))
        yield slice(start, stop)
        start = stop


def by_query(
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]], queries: int, shards: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Bring what was found shard by shard into the order of the queries.

    Args:
        found: for each shard, for each run of queries: how many were found of each query, and two columns of what was
            found.
        queries: number of queries.
        shards: number of shards.

    Returns:
        Offsets of shape (queries + 1,), and the two columns.
    """
    lengths, first, second = (
        np.concatenate(column) for column in zip((NOTHING, NOTHING, NOTHING), *found, strict=True)
    )
    of_shards = lengths.reshape(shards, queries)
    offsets = offsets_of(of_shards.sum(axis=0))
    starts = offsets[:-1] + np.cumsum(of_shards, axis=0) - of_shards
    order = spans(starts.reshape(-1), lengths)
    columns = np.empty((2, len(order)), dtype=np.int64)
    columns[0, order], columns[1, order] = first, second
    return offsets, columns[0], columns[1]
