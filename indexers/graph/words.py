"""The words of a text in any script, and the number of passages that hold each."""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.arrays import Int32s, Int64s, check_arrays, open_arrays, save_arrays
from mnemodex.indexers.scripts import bound_marks, word_pattern
from mnemodex.schemas.ids import hash_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_ASCII = re.compile(r"[a-z0-9]+")
_FEW, _PART = 10, 20
"""A word is common if more passages hold it than ten, and than a twentieth of all."""


class Word(NamedTuple):
    """A word of a text: its normal form, and where it is."""

    form: str
    start: int
    end: int


def split(text: str) -> list[Word]:
    """Return the words of a text, in its order: runs of letters, marks and digits, in lower case.

    Where a script sets no spaces, each pair of neighbouring characters is a word, so that a name is found inside a
    sentence without a dictionary.
    """
    words: list[Word] = []
    for match in word_pattern().finditer(text):
        start, end = match.span()
        spans = [(start, end)]
        if match.lastgroup and end - start > 2:
            spans = [(at, at + 2) for at in range(start, end - 1)]
        words.extend(Word(_normal(text[first:last]), first, last) for first, last in spans)
    return words


def forms(text: str) -> set[str]:
    """Return the distinct words of a text, in normal form."""
    if text.isascii():
        return set(_ASCII.findall(text.lower()))
    return {word.form for word in split(text)}


def _normal(word: str) -> str:
    return word.lower() if word.isascii() else unicodedata.normalize("NFKC", bound_marks(word)).casefold()


@dataclass(frozen=True)
class WordCounts:
    """The number of passages that hold each word, of all passages or of a sample of them.

    Words are known by their hashes, int64 of shape (words,), ascending; the counts are int32.
    """

    passages: int
    hashes: Int64s
    counts: Int32s

    @classmethod
    def of(cls, texts: Iterable[str]) -> WordCounts:
        """Count the words of passages (each its title and text)."""
        counter: Counter[str] = Counter()
        passages = 0
        for text in texts:
            counter.update(forms(text))
            passages += 1
        hashes = np.fromiter(map(_hash, counter), np.int64, len(counter))
        counts = np.fromiter(counter.values(), np.int32, len(counter))
        order = np.argsort(hashes)
        return cls(passages, hashes[order], counts[order])

    @classmethod
    def sum(cls, parts: Sequence[WordCounts]) -> WordCounts:
        """Return the counts of all parts' passages together."""
        hashes, words = np.unique(np.concatenate([part.hashes for part in parts]), return_inverse=True)
        counts = np.bincount(words, np.concatenate([part.counts for part in parts]), len(hashes))
        return cls(sum(part.passages for part in parts), hashes, counts.astype(np.int32))

    def less(self, part: WordCounts) -> WordCounts:
        """Return the counts without those of some of the passages."""
        counts = self.counts.copy()
        counts[np.searchsorted(self.hashes, part.hashes)] -= part.counts
        return WordCounts(self.passages - part.passages, self.hashes, counts)

    def weight(self, words: Iterable[str]) -> dict[str, float]:
        """Return the weight of each word: log((passages + 1) / (passages that hold it + 1/2)), above 0 for all.

        It is the inverse document frequency of Spärck Jones (1972), smoothed for words that are nowhere.
        """
        words = list(words)
        counts = np.zeros(len(words))
        if len(self.hashes):
            hashes = np.fromiter(map(_hash, words), np.int64, len(words))
            nearest = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
            counts = np.where(self.hashes[nearest] == hashes, self.counts[nearest], 0.0)
        weights = np.log((self.passages + 1) / (np.minimum(counts, self.passages) + 0.5))
        return dict(zip(words, weights.tolist(), strict=True))

    @property
    def common(self) -> float:
        """The least weight of a word that is not common."""
        return math.log((self.passages + 1) / (max(_FEW, self.passages / _PART) + 0.5))

    def save(self, folder: Path) -> None:
        """Write `word_hashes.npy` and `word_counts.npy`; the latter begins with the number of passages."""
        save_arrays(folder, word_hashes=self.hashes, word_counts=np.concatenate([[self.passages], self.counts]))

    @classmethod
    def open(cls, folder: Path) -> WordCounts:
        """Map what `save` wrote; a `CorruptFileError` says that the two files do not belong together."""
        hashes, counts = open_arrays(folder, word_hashes=np.int64, word_counts=np.int64)
        check_arrays(len(counts) == len(hashes) + 1, folder, "word_hashes and word_counts")
        return cls(int(counts[0]), hashes, counts[1:])


@functools.lru_cache(maxsize=1 << 16)
def _hash(word: str) -> int:
    return hash_text("word", word)
