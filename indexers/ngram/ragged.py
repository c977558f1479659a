"""Rows of different lengths in flat arrays (documents, n-grams, answers), and the vocabulary of their tokens."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.schemas.errors import ModelError, QueryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import ArrayLike

    from mnemodex.indexers.arrays import Int32s, Int64s, Integers

_ROOM = 1 << 17
"""Rows or tree nodes worked on at a time, unless a single n-gram has more: a few MiB of scratch."""

LARGEST_TOKEN = 1 << 24
"""A token id above this is taken for a mistake: the lookup table would have a place for every smaller one."""

NOTHING = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Ragged:
    """Rows of token ids in the layout of an Arrow list array: row i is `values[offsets[i]:offsets[i + 1]]`.

    Values are integers of shape (tokens,); offsets are int64 of shape (rows + 1,), and ascend from 0 to the number of
    tokens. Anything else is a `QueryError`.
    """

    values: Integers
    offsets: Int64s

    def __post_init__(self) -> None:
        values, offsets = self.values, self.offsets
        if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
            raise QueryError(f"token ids must be a flat array of integers, not {values.dtype} of shape {values.shape}")
        covers = offsets.ndim == 1 and len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == len(values)
        if not covers or np.any(np.diff(offsets) < 0):
            raise QueryError(f"offsets must ascend from 0 to the number of token ids, {len(values)}")

    @classmethod
    def of(cls, rows: Iterable[ArrayLike]) -> Ragged:
        """Join rows, each a sequence of token ids."""
        arrays = [np.asarray(row) for row in rows]
        for row, array in enumerate(arrays):
            if array.ndim != 1:
                raise QueryError(f"row {row} is not a list of token ids but {array.dtype} of shape {array.shape}")
        offsets = offsets_of(np.array([array.size for array in arrays], np.int64))
        # np.asarray([]) is a float array; an empty row has no token whose type could be wrong.
        filled = [array for array in arrays if array.size]
        return cls(np.concatenate(filled) if filled else NOTHING, offsets)

    @property
    def lengths(self) -> Int64s:
        """Tokens of each row: int64 array of shape (rows,)."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def part(self, start: int, stop: int) -> Ragged:
        """Return the rows [start, stop), without a copy of their tokens."""
        offsets = self.offsets[start : stop + 1]
        return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])

    def take(self, rows: Integers) -> Ragged:
        """Return some of the rows, in the order given."""
        lengths = self.lengths[rows]
        return Ragged(self.values[spans(self.offsets[:-1][rows], lengths)], offsets_of(lengths))


class Vocabulary:
    """Token ids in ascending order; a token's *symbol* is its place among them.

    All shards of an index share one vocabulary: `range(size)` of the tokenizer, or the ids that occur in the corpus.
    They are given in any order; the attribute `ids` is int32 of shape (size,), ascending. Ids that are no integers,
    occur twice, or are negative or too large are a `ModelError`.
    """

    def __init__(self, ids: ArrayLike) -> None:
        numbers = np.asarray(ids)
        if numbers.ndim != 1 or numbers.size == 0 or not np.issubdtype(numbers.dtype, np.integer):
            raise ModelError(f"a vocabulary is a list of integers, not {numbers.dtype} of shape {numbers.shape}")
        if numbers.min() < 0 or numbers.max() > LARGEST_TOKEN:
            raise ModelError(f"token ids lie between 0 and {LARGEST_TOKEN}, not {numbers.min()} and {numbers.max()}")
        self.ids: Int32s = np.unique(numbers).astype(np.int32)
        if len(self.ids) < numbers.size:
            raise ModelError(f"the vocabulary holds {numbers.size - len(self.ids)} token ids twice")
        self._symbols = np.full(int(self.ids[-1]) + 1, -1, dtype=np.int32)
        self._symbols[self.ids] = np.arange(len(self.ids), dtype=np.int32)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sha256(self) -> str:
        """The hash of the ids, by which shards of one index know each other."""
        return hashlib.sha256(self.ids.astype("<i4").tobytes()).hexdigest()

    def symbols(self, rows: Ragged) -> Int32s:
        """Translate the token ids of documents or n-grams, one after the other, to symbols, int32 of shape (tokens,).

        A token id that is not in the vocabulary is a `ModelError`.
        """
        tokens = rows.values
        if tokens.size == 0:
            return np.empty(0, dtype=np.int32)
        symbols = self._symbols.take(tokens, mode="clip")
        if tokens.min() < 0 or tokens.max() >= len(self._symbols) or symbols.min() < 0:
            first = int(np.argmax((tokens < 0) | (tokens >= len(self._symbols)) | (symbols < 0)))
            row = int(np.searchsorted(rows.offsets, first, side="right")) - 1
            raise ModelError(
                f"row {row} has the token id {tokens[first]} at {first - rows.offsets[row]}, which is not among the "
                f"{len(self)} of the index's vocabulary: use the tokenizer that the index was made for"
            )
        return symbols


def as_ragged(rows: Ragged | Iterable[ArrayLike]) -> Ragged:
    """Take rows as they are, or join a sequence of them, or the rows of a matrix."""
    if isinstance(rows, Ragged):
        return rows
    if isinstance(rows, np.ndarray) and rows.ndim == 2:
        return Ragged(rows.reshape(-1), np.arange(rows.shape[0] + 1, dtype=np.int64) * rows.shape[1])
    return Ragged.of(rows)


def spans(starts: Int64s, lengths: Int64s) -> Int64s:
    """Return the integers of many intervals, one after another: `lengths[i]` of them from `starts[i]` on."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(lengths.sum(), dtype=np.int64)


def offsets_of(lengths: Int64s) -> Int64s:
    """Return where rows of these lengths begin one after the other, and where the last ends: int64, (rows + 1,)."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


class Continuations(NamedTuple):
    """The tokens that follow each range, not ends of documents: of range i, elements `offsets[i]:offsets[i + 1]`."""

    offsets: Int64s
    tokens: Int64s
    """Token ids, ascending for each range."""
    counts: Int64s


class Occurrences(NamedTuple):
    """The occurrences of each n-gram in the corpus's order: of n-gram i, the elements `offsets[i]:offsets[i + 1]`."""

    offsets: Int64s
    documents: Int64s
    positions: Int64s
    """Offsets of the n-gram's first token in its document, in tokens."""


class DocumentCounts(NamedTuple):
    """The documents of each n-gram: of n-gram i, the elements `offsets[i]:offsets[i + 1]`."""

    offsets: Int64s
    documents: Int64s
    """Ascending for each n-gram."""
    counts: Int64s


def parts_of(sizes: Int64s) -> Iterator[slice]:
    """Cut queries into runs whose sizes add up to `_ROOM` at most, or of one query."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _ROOM, side="right")))
        yield slice(start, stop)
        start = stop


def by_query(answers: list[tuple[Int64s, Int64s, Int64s]], queries: int, shards: int) -> tuple[Int64s, Int64s, Int64s]:
    """Bring answers into the order of the queries: return offsets of shape (queries + 1,), and the two columns.

    The answers are, for each shard, for each run of queries: how many answers each query has, and two columns of them.
    """
    lengths, first, second = (
        np.concatenate(column) for column in zip((NOTHING, NOTHING, NOTHING), *answers, strict=True)
    )
    of_shards = lengths.reshape(shards, queries)
    offsets = offsets_of(of_shards.sum(axis=0))
    starts = offsets[:-1] + np.cumsum(of_shards, axis=0) - of_shards
    order = spans(starts.reshape(-1), lengths)
    columns = np.empty((2, len(order)), dtype=np.int64)
    columns[0, order], columns[1, order] = first, second
    return offsets, columns[0], columns[1]
