"""Documents as tokens, read out of the index, the last ones kept."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnemodex.indexers.ngram.ragged import Ragged
    from mnemodex.retrievers.ngram.corpus import NgramCorpus

    Tokens = NDArray[np.int32]
    Texts = tuple[Tokens, NDArray[np.int64], Tokens, NDArray[np.int64]]

_KEPT = 1 << 22
"""Tokens that are kept: 16 MiB."""


class TextCache:
    """Reads documents by their numbers; safe to call from several threads."""

    def __init__(self, corpus: NgramCorpus) -> None:
        self._corpus = corpus
        self._kept: OrderedDict[int, tuple[Tokens, Tokens]] = OrderedDict()
        self._tokens = 0
        self._lock = threading.Lock()

    def read(self, documents: NDArray[np.int64]) -> Texts:
        """Titles and bodies of documents.

        Args:
            documents: their numbers, all different, int64 of shape (documents,).

        Returns:
            Values and offsets of the titles, then of the bodies, one row a document.
        """
        numbers = documents.tolist()
        with self._lock:
            there = {number: self._kept[number] for number in numbers if number in self._kept}
        missing = np.array([number for number in numbers if number not in there], np.int64)
        if len(missing):
            titles, bodies = _rows(self._corpus.title.tokens(missing)), _rows(self._corpus.body.tokens(missing))
            there.update(zip(missing.tolist(), zip(titles, bodies, strict=True), strict=True))
        self._keep(there)
        return (*_join([there[number][0] for number in numbers]), *_join([there[number][1] for number in numbers]))

    def _keep(self, texts: dict[int, tuple[Tokens, Tokens]]) -> None:
        with self._lock:
            for number, text in texts.items():
                if number not in self._kept:
                    self._kept[number] = text
                    self._tokens += _size(text)
                self._kept.move_to_end(number)
            while self._tokens > _KEPT:
                self._tokens -= _size(self._kept.popitem(last=False)[1])


def _size(text: tuple[Tokens, Tokens]) -> int:
    return len(text[0]) + len(text[1])


def _rows(texts: Ragged) -> list[Tokens]:
    """Every row as an array of its own: a view would keep all of them."""
    borders = texts.offsets.tolist()
    return [texts.values[start:stop].astype(np.int32) for start, stop in itertools.pairwise(borders)]


def _join(rows: list[Tokens]) -> tuple[Tokens, NDArray[np.int64]]:
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return np.concatenate([np.zeros(0, np.int32), *rows]), offsets
