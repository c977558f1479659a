"""Occurrences of phrases in their context, as a concordance lists them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.models.tokenizers import tokenize
from mnemodex.retrievers.base import check
from mnemodex.retrievers.context import words_around
from mnemodex.schemas.tables import DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Int32s, Integers
    from mnemodex.indexers.models.tokenizers import Tokens
    from mnemodex.retrievers.ngram.index import NgramIndex
    from mnemodex.retrievers.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One occurrence of a phrase.

    Attributes:
        start: its first character in the document's text.
        end: the character after its last.
        before: some words before it, and `after` some after it, with single spaces.
        phrase: the text as it is written there.
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
        count: how many there are.
        occurrences: the first of them, in their order.
    """

    key: str
    title: str
    count: int
    occurrences: list[Occurrence]


class _Document(NamedTuple):
    key: str
    title: str
    text: str
    tokens: Tokens


def concordances(
    index: NgramIndex,
    snapshot: Snapshot,
    phrases: Sequence[str],
    k: int = 10,
    *,
    where: str | None = None,
    most: int = 3,
) -> list[list[Concordance]]:
    """Return the hits of `NgramIndex.search`, k a phrase, with the first occurrences in each, `most` at the most.

    Texts are read from the snapshot; only the hits' documents are tokenised again. With `where`, nothing is shown of
    chunks that it does not keep.
    """
    corpus = index.corpus
    allowed = None if where is None else index.ids_where(where)

    @cache
    def read(number: int) -> _Document:
        rows = corpus.documents.at(np.array([number]))
        label = rows.labels[int(rows.partition[0])]
        (row,) = snapshot.take(DOCUMENTS.label, label, rows.row.tolist(), ["key", "title", "text"]).to_pylist()
        return _Document(**row, tokens=tokenize(index.phrases.tokenizer, [row["text"]])[0])

    def concordance(chunk: int, count: int, ngrams: list[Integers]) -> Concordance:
        number, start, stop = (int(column[0]) for column in corpus.owned(np.array([chunk])))
        document = read(number)
        kept = (0, len(document.tokens.ids)) if allowed is None else index.kept_around(chunk, allowed)
        spans = sorted(
            (first, first + len(ngram))
            for ngram in ngrams
            for first in _find(document.tokens.ids[start : min(stop + len(ngram) - 1, kept[1])], ngram, start)
        )
        occurrences = [_occurrence(document, first, after, kept) for first, after in spans[:most]]
        return Concordance(document.key, document.title, count, occurrences)

    texts = check(phrases, k)
    variants = index.phrases.variants(texts)
    answers = []
    for number, (chunks, counts) in enumerate(index.best_chunks(texts, k, where=where)):
        rows = np.flatnonzero(variants.phrase == number).tolist()
        ngrams = [variants.ngrams.part(row, row + 1).values for row in rows]
        hits = zip(chunks.tolist(), counts.tolist(), strict=True)
        answers.append([concordance(chunk, int(count), ngrams) for chunk, count in hits])
    return answers


def _occurrence(document: _Document, first: int, after: int, kept: tuple[int, int]) -> Occurrence:
    """Return the tokens [first, after) of a document in their context, which is of the tokens that are kept."""
    offsets = document.tokens.offsets
    whole = kept == (0, len(offsets))
    text = document.text if whole else document.text[: int(offsets[kept[1] - 1, 1])]
    start, end = int(offsets[first, 0]), int(offsets[after - 1, 1])
    # Byte-pair tokens hold the space before them.
    start += len(text[start:end]) - len(text[start:end].lstrip())
    # Marks that a tokenizer drops belong to the letter before them.
    while unicodedata.category(text[end : end + 1] or " ").startswith("M"):
        end += 1
    left, right = words_around(text, start, end, first=0 if whole else int(offsets[kept[0], 0]))
    return Occurrence(start, end, left, text[start:end], right)


def _find(tokens: Int32s, ngram: Integers, first: int) -> list[int]:
    """Return where an n-gram begins among tokens that are counted from `first`."""
    if len(tokens) < len(ngram):
        return []
    windows = np.lib.stride_tricks.sliding_window_view(tokens, len(ngram))
    return (np.flatnonzero((windows == ngram).all(axis=1)) + first).tolist()
