"""Keys: the n-grams by which SEAL finds documents, with what a language model thinks of each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.ngram.answers import offsets_of
from mnemodex.indexers.ngram.ragged import Ragged, spans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Kind(IntEnum):
    """Where a key comes from, and so where it counts.

    BODY and UNIGRAM keys were written by the language model, and QUERY keys stand in the question: they count wherever
    their tokens stand, in a document's text or title. A TITLE key counts only as a document's whole title.
    """

    BODY = 0
    TITLE = 1
    QUERY = 2
    UNIGRAM = 3


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a batch of questions.

    Attributes:
        query: the number of each key's question, int64 of shape (keys,), ascending.
        ngrams: the keys' tokens, one row a key.
        log_probability: natural logarithm of the probability that the model gives the key for its question, summed
            over its tokens; float64 of shape (keys,).
        kind: int8 of shape (keys,), of `Kind`.
    """

    query: NDArray[np.int64]
    ngrams: Ragged
    log_probability: NDArray[np.float64]
    kind: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.query)

    @classmethod
    def concatenate(cls, parts: Sequence[Keys]) -> Keys:
        """The keys of all parts, by question; those of one question in the order of the parts."""
        lengths = np.concatenate([part.ngrams.lengths for part in parts])
        joined = cls(
            np.concatenate([part.query for part in parts]),
            Ragged(np.concatenate([part.ngrams.values for part in parts]), offsets_of(lengths)),
            np.concatenate([part.log_probability for part in parts]),
            np.concatenate([part.kind for part in parts]),
        )
        return joined.take(np.argsort(joined.query, kind="stable"))

    def part(self, start: int, stop: int) -> Keys:
        """The keys of the questions [start, stop), which are numbered from 0 there."""
        low, high = np.searchsorted(self.query, [start, stop]).tolist()
        rows = slice(low, high)
        return Keys(self.query[rows] - start, self.ngrams.part(low, high), self.log_probability[rows], self.kind[rows])

    def take(self, places: NDArray[np.int64]) -> Keys:
        """Some of the keys, in the order given."""
        lengths = self.ngrams.lengths[places]
        values = self.ngrams.values[spans(self.ngrams.offsets[:-1][places], lengths)]
        return Keys(
            self.query[places], Ragged(values, offsets_of(lengths)), self.log_probability[places], self.kind[places]
        )
