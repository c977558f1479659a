"""The shared vocabulary of an index: which token ids there are, and their dense numbers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from mnemodex.indexers.arrays import Int32s
    from mnemodex.indexers.ngram.ragged import Ragged

_LARGEST = 1 << 24
"""A token id above this is taken for a mistake: the lookup table would have a place for every smaller one."""


class Vocabulary:
    """Token ids in ascending order; a token's *symbol* is its place among them.

    All shards of an index share one vocabulary: `range(size)` of the tokenizer, or the ids that occur in the corpus.
    Ids that are no integers, occur twice, or are negative or too large are a `ModelError`.

    Args:
        ids: integers, all different, in any order. The attribute is int32 of shape (size,), ascending.
    """

    def __init__(self, ids: ArrayLike) -> None:
        numbers = np.asarray(ids)
        if numbers.ndim != 1 or numbers.size == 0 or not np.issubdtype(numbers.dtype, np.integer):
            raise ModelError(f"a vocabulary is a list of integers, not {numbers.dtype} of shape {numbers.shape}")
        if numbers.min() < 0 or numbers.max() > _LARGEST:
            raise ModelError(f"token ids lie between 0 and {_LARGEST}, not {numbers.min()} and {numbers.max()}")
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
