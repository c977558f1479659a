"""Rows of different lengths in two flat arrays: documents that are built from, n-grams that are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Ragged:
    """Rows of token ids in the layout of an Arrow list array: row i is `values[offsets[i]:offsets[i + 1]]`.

    Attributes:
        values: integer array of shape (tokens,).
        offsets: int64 array of shape (rows + 1,), ascending from 0 to the number of tokens.

    Raises:
        QueryError: the values are no integers, or the offsets do not cover them.
    """

    values: NDArray[np.integer[Any]]
    offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.values.ndim != 1 or not np.issubdtype(self.values.dtype, np.integer):
            raise QueryError(
                f"token ids must be a flat array of integers, not {self.values.dtype} of shape {self.values.shape}"
            )
        if (
            self.offsets.ndim != 1
            or len(self.offsets) == 0
            or self.offsets[0] != 0
            or self.offsets[-1] != len(self.values)
            or np.any(np.diff(self.offsets) < 0)
        ):
            raise QueryError(f"offsets must ascend from 0 to the number of token ids, {len(self.values)}")

    @classmethod
    def of(cls, rows: Iterable[ArrayLike]) -> Ragged:
        """Join rows, each a sequence of token ids."""
        arrays = [np.asarray(row) for row in rows]
        for row, array in enumerate(arrays):
            if array.ndim != 1:
                raise QueryError(f"row {row} is not a list of token ids but {array.dtype} of shape {array.shape}")
        # np.asarray([]) is a float array; an empty row has no token whose type could be wrong.
        filled = [array for array in arrays if array.size]
        offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
        np.cumsum([array.size for array in arrays], out=offsets[1:])
        if not filled:
            return cls(np.empty(0, dtype=np.int64), offsets)
        return cls(np.concatenate(filled), offsets)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row: int64 array of shape (rows,)."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def part(self, start: int, stop: int) -> Ragged:
        """The rows [start, stop), without a copy of their tokens."""
        offsets = self.offsets[start : stop + 1]
        return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])

    def take(self, places: NDArray[np.integer[Any]]) -> Ragged:
        """Some of the rows, in the order given."""
        lengths = self.lengths[places]
        offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return Ragged(self.values[spans(self.offsets[:-1][places], lengths)], offsets)


def as_ragged(rows: Ragged | Iterable[ArrayLike]) -> Ragged:
    """Take rows as they are, or join a sequence of them, or the rows of a matrix."""
    if isinstance(rows, Ragged):
        return rows
    if isinstance(rows, np.ndarray) and rows.ndim == 2:
        return Ragged(rows.reshape(-1), np.arange(rows.shape[0] + 1, dtype=np.int64) * rows.shape[1])
    return Ragged.of(rows)


def spans(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The integers of many intervals, one after another: `starts[i]`, `starts[i] + 1`, …, `lengths[i]` of them."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(lengths.sum(), dtype=np.int64)
