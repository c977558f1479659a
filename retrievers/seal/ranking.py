"""The keys of one question in their order, ready for the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.retrievers.seal.keys import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnemodex.indexers.ngram.ragged import Ragged
    from mnemodex.retrievers.seal.keys import Keys

MOST_OCCURRENCES = 1500
"""Keys that occur more often do not find documents; they only score what others found."""


@dataclass(frozen=True, slots=True)
class RankedKeys:
    """Keys that are worth something, the best first, of equal weights the longest; unigrams last.

    Attributes:
        ngrams: their tokens.
        weights: float64 of shape (keys,).
        counts: how often each occurs, int64 of shape (keys,).
        kind: int8 of shape (keys,), of `Kind`.
        finders: the ranks of the keys that find documents: no unigrams, and none that are too frequent.
        arrays: what the kernels take: weights, lengths, the distinct tokens of each key, and where each key's begin.
        trie: see `kernels`; of keys with the same tokens it holds the first.
        together: whether the keys of a document add up; else only its best one counts.
    """

    ngrams: Ragged
    weights: NDArray[np.float64]
    counts: NDArray[np.int64]
    kind: NDArray[np.int8]
    finders: NDArray[np.int64]
    arrays: Any
    trie: Any
    together: bool

    @classmethod
    def of(
        cls, keys: Keys, here: slice, weights: NDArray[np.float64], counts: NDArray[np.int64], *, together: bool
    ) -> RankedKeys:
        """Rank the keys of one question.

        Args:
            keys: of all questions.
            here: which are this question's.
            weights: of all keys.
            counts: of all keys.
            together: see the class.
        """
        from mnemodex.retrievers.seal.kernels import insert_keys

        # Unigrams fill the places that are left, and where only the best key counts, there are none.
        unigram = keys.kind[here] == Kind.UNIGRAM
        chosen = np.flatnonzero((weights[here] > 0) & (counts[here] > 0) & (together | ~unigram))
        all_ngrams = keys.ngrams.part(here.start, here.stop)
        order = np.lexsort((-all_ngrams.lengths[chosen], -weights[here][chosen], unigram[chosen]))
        ngrams, mine = all_ngrams.take(chosen[order]), chosen[order] + here.start
        kind = keys.kind[mine]
        size = 1 << int(2 * len(ngrams.values) + 1).bit_length()
        trie = np.full((size, 2), -1, np.int64), np.full((len(ngrams.values) + 1, 2), -1, np.int32)
        kept = np.zeros(len(mine), np.bool_)
        values = ngrams.values.astype(np.int64)
        insert_keys(values, ngrams.offsets, (kind == Kind.TITLE).astype(np.uint8), trie, kept)
        finders = np.flatnonzero(kept & (counts[mine] <= MOST_OCCURRENCES) & (kind != Kind.UNIGRAM))
        arrays = (weights[mine], ngrams.lengths, *_distinct(ngrams))
        return cls(ngrams, weights[mine], counts[mine], kind, finders, arrays, trie, together)

    def __len__(self) -> int:
        return len(self.weights)


def _distinct(ngrams: Ragged) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The different tokens of each n-gram, and where each one's begin."""
    row = np.repeat(np.arange(len(ngrams)), ngrams.lengths)
    pairs = np.unique(np.stack([row, ngrams.values]), axis=1)
    return np.ascontiguousarray(pairs[1]), np.searchsorted(pairs[0], np.arange(len(ngrams) + 1)).astype(np.int64)
