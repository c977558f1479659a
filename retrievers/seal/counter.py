"""How often keys occur where they count, and in which documents."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.retrievers.seal.keys import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnemodex.indexers.ngram.answers import DocumentCounts
    from mnemodex.indexers.ngram.ragged import Ragged
    from mnemodex.retrievers.ngram.corpus import NgramCorpus
    from mnemodex.retrievers.seal.keys import Keys


class KeyCounter:
    """Counts and finds keys: titles among whole titles, all others in texts and titles.

    Attributes:
        tokens: of all texts and titles.
    """

    def __init__(self, corpus: NgramCorpus) -> None:
        self._body, self._title = corpus.body, corpus.title
        self.tokens = self._body.token_count + self._title.token_count

    def count(self, keys: Keys) -> NDArray[np.int64]:
        """Occurrences of keys: int64 of shape (keys,).

        Raises:
            ModelError: a token id is not in the index's vocabulary.
            QueryError: a key has no token.
        """
        counts = np.zeros(len(keys), np.int64)
        title = keys.kind == Kind.TITLE
        single = np.flatnonzero((keys.ngrams.lengths == 1) & ~title)
        counts[single] = self.count_tokens(keys.ngrams.take(single))
        longer = np.flatnonzero((keys.ngrams.lengths != 1) & ~title)
        ngrams = keys.ngrams.take(longer)
        counts[longer] = self._body.count(ngrams) + self._title.count(ngrams)
        whole = np.flatnonzero(title)
        counts[whole] = self._title.ends(self._beginnings(keys.ngrams.take(whole)))
        return counts

    def count_tokens(self, ngrams: Ragged) -> NDArray[np.int64]:
        """Occurrences of each token of n-grams: int64 of the shape of `ngrams.values`.

        Raises:
            ModelError: a token id is not in the index's vocabulary.
        """
        counts: NDArray[np.int64] = self._unigrams[self._body.vocabulary.symbols(ngrams)]
        return counts

    def find(self, ngrams: Ragged, title: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The documents of keys.

        It looks at all occurrences, and for a title at all titles that begin with it.

        Args:
            ngrams: the keys' tokens.
            title: which keys are titles, bool of shape (keys,).

        Returns:
            The keys' numbers and their documents, two int64 arrays of one shape, each pair once, by document and key.
        """
        anywhere, whole = np.flatnonzero(~title), np.flatnonzero(title)
        some, titles = ngrams.take(anywhere), ngrams.take(whole)
        beginning = self._title.documents_of(self._beginnings(titles))
        place, documents = _pairs(beginning)
        # Titles that begin alike are equal if they are as long.
        equal = self._title.lengths(documents) == titles.lengths[place]
        found = [(whole[place[equal]], documents[equal])]
        for index in (self._body, self._title):
            place, documents = _pairs(index.documents(some))
            found.append((anywhere[place], documents))
        number, document = (np.concatenate(column) for column in zip(*found, strict=True))
        width = max(len(ngrams), 1)
        pairs = np.unique(document * width + number)
        return pairs % width, pairs // width

    def _beginnings(self, titles: Ragged) -> NDArray[np.int64]:
        """The ranges of titles that begin with some tokens."""
        return self._title.extend(self._title.starts(len(titles)), titles)

    @cached_property
    def _unigrams(self) -> NDArray[np.int64]:
        """How often each token of the vocabulary occurs, by its symbol."""
        ngrams = self._body.vocabulary.ids[:, None]
        return self._body.count(ngrams) + self._title.count(ngrams)


def _pairs(found: DocumentCounts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.repeat(np.arange(len(found.offsets) - 1), np.diff(found.offsets)), found.documents
