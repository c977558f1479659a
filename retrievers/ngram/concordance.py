"""Occurrences of phrases in their context, as a concordance lists them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.models.tokens import tokenize
from mnemodex.retrievers.base import check

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnemodex.indexers.models.tokens import Tokens
    from mnemodex.retrievers.ngram.index import NgramIndex
    from mnemodex.retrievers.snapshot import Snapshot

_WORDS = 8
_WIDTH = 160
"""Characters within which the words before and after are looked for."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One occurrence of a phrase.

    Attributes:
        start: its first character in the document's text.
        end: the character after its last.
        before: some words before it, and `after` some after it, with single spaces.
        phrase: the text as it stands there.
    """

    start: int
    end: int
    before: str
    phrase: str
    after: str


@dataclass(frozen=True, slots=True)
class Concordance:
    """The occurrences of a phrase that begin in one chunk.

    Attributes:
        key: the document's key.
        title: its title.
        count: how many there are.
        occurrences: the first of them, in their order.
    """

    key: str
    title: str
    count: int
    occurrences: list[Occurrence]


def concordances(
    index: NgramIndex,
    snapshot: Snapshot,
    phrases: Sequence[str],
    k: int = 10,
    *,
    where: str | None = None,
    most: int = 3,
) -> list[list[Concordance]]:
    """The hits of `NgramIndex.search` with the occurrences in them; only the hits' documents are tokenised again.

    Args:
        index: where the phrases are looked for.
        snapshot: the memory's, where the texts are read from.
        phrases: what is looked for.
        k: chunks of each phrase.
        where: as `Retriever.search` takes it.
        most: occurrences of each chunk.
    """
    texts = check(phrases, k)
    reader = _Reader(index, snapshot)
    numbers, scores = index.best_chunks(texts, k, where=where)
    variants = index.phrases.variants(texts)
    answers = []
    for number, (chunks, counts) in enumerate(zip(numbers, scores, strict=True)):
        mine = np.flatnonzero(variants.phrase == number).tolist()
        ngrams = [variants.ngrams.part(place, place + 1).values for place in mine]
        found = chunks >= 0
        answers.append(
            [
                reader.concordance(chunk, int(count), ngrams, most)
                for chunk, count in zip(chunks[found].tolist(), counts[found].tolist(), strict=True)
            ]
        )
    return answers


class _Document(NamedTuple):
    key: str
    title: str
    text: str
    tokens: Tokens


class _Reader:
    """Reads the documents of hits, each once."""

    def __init__(self, index: NgramIndex, snapshot: Snapshot) -> None:
        self._index = index
        self._snapshot = snapshot
        self._documents: dict[int, _Document] = {}

    def concordance(self, chunk: int, count: int, ngrams: list[NDArray[np.integer]], most: int) -> Concordance:
        number, start, stop = (int(column[0]) for column in self._index.corpus.owned(np.array([chunk])))
        document = self._documents.get(number) or self._documents.setdefault(number, self._read(number))
        places = sorted(
            (place, place + len(ngram))
            for ngram in ngrams
            for place in _places(document.tokens.ids[start : stop + len(ngram) - 1], ngram, start)
        )
        found = [_occurrence(document, first, after) for first, after in places[:most]]
        return Concordance(document.key, document.title, count, found)

    def _read(self, number: int) -> _Document:
        place = self._index.corpus.places("documents", np.array([number]))
        label = self._index.corpus.labels[int(place.partition[0])]
        row = self._snapshot.take("documents", label, place.row.tolist(), ["key", "title", "text"]).to_pylist()[0]
        return _Document(**row, tokens=tokenize(self._index.phrases.tokenizer, [row["text"]])[0])


def _occurrence(document: _Document, first: int, after: int) -> Occurrence:
    """The tokens [first, after) of a document in their context."""
    text = document.text
    start, end = int(document.tokens.offsets[first, 0]), int(document.tokens.offsets[after - 1, 1])
    # Byte-pair tokens hold the space before them.
    start += len(text[start:end]) - len(text[start:end].lstrip())
    # Marks that a tokenizer drops belong to the letter before them.
    while unicodedata.category(text[end : end + 1] or " ").startswith("M"):
        end += 1
    left, right = text[max(start - _WIDTH, 0) : start].split(), text[end : end + _WIDTH].split()
    return Occurrence(start, end, " ".join(left[-_WORDS:]), text[start:end], " ".join(right[:_WORDS]))


def _places(tokens: NDArray[np.int32], ngram: NDArray[np.integer], first: int) -> list[int]:
    """Where an n-gram begins among tokens that are counted from `first`."""
    if len(tokens) < len(ngram):
        return []
    windows = np.lib.stride_tricks.sliding_window_view(tokens, len(ngram))
    found: list[int] = (np.flatnonzero((windows == ngram).all(axis=1)) + first).tolist()
    return found
