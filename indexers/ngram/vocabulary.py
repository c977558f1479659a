"""The shared vocabulary of an index: which token ids there are, and their dense numbers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from mnemodex.indexers.ngram.ragged import Ragged

_LARGEST = 1 << 24
"""A token id above this is taken for a mistake: the lookup table would have a place for every smaller one."""


class Vocabulary:
    """Token ids in ascending order; a token's *symbol* is its place among them.

    All shards of an index share one vocabulary: `range(size)` of the tokenizer, or the ids that occur in the corpus.

    Args:
        ids: integers, all different, in any order.

    Attributes:
        ids: int32 array of shape (size,), ascending.

    Raises:
        ModelError: the ids are no integers, occur twice, or are negative or too large.
    """

    def __init__(self, ids: ArrayLike) -> None:
        given = np.asarray(ids)
        if given.ndim != 1 or given.size == 0 or not np.issubdtype(given.dtype, np.integer):
            raise ModelError(f"a vocabulary is a list of integers, not {given.dtype} of shape {given.shape}")
        if given.min() < 0 or given.max() > _LARGEST:
            raise ModelError(f"token ids lie between 0 and {_LARGEST}, not {given.min()} and {given.max()}")
        self.ids: NDArray[np.int32] = np.unique(given).astype(np.int32)
        if len(self.ids) < given.size:
            raise ModelError(f"the vocabulary holds {given.size - len(self.ids)} token ids twice")
        self._symbols = np.full(int(self.ids[-1]) + 1, -1, dtype=np.int32)
        self._symbols[self.ids] = np.arange(len(self.ids), dtype=np.int32)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sha256(self) -> str:
        """The hash of the ids, by which shards of one index know each other."""
        return hashlib.sha256(self.ids.astype("<i4").tobytes()).hexdigest()

    def symbols(self, rows: Ragged) -> NDArray[np.int32]:
        """Translate token ids to symbols.

        Args:
            rows: documents or n-grams.

        Returns:
            int32 array of shape (tokens,), of the rows one after the other.

        Raises:
            ModelError: a token id is not in the vocabulary.
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
