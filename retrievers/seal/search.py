"""From ranked keys to the chunks of documents: candidates first, then the votes of all keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.ngram.ragged import spans
from mnemodex.retrievers.seal.counter import KeyCounter
from mnemodex.retrievers.seal.keys import Kind
from mnemodex.retrievers.seal.texts import TextCache
from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnemodex.retrievers.ngram.corpus import NgramCorpus
    from mnemodex.retrievers.seal.ranking import RankedKeys

MOST_DOCUMENTS = 1500
"""Documents of a question that are read and scored by all their keys."""

MOST_TOKENS = 1 << 22
"""Tokens that are read for a question: the documents that keys found, the best first, until there are so many."""


class Found(NamedTuple):
    """The best chunks of one question."""

    chunks: NDArray[np.int64]
    """Their numbers."""
    scores: NDArray[np.float32]


class Votes(NamedTuple):
    """The keys that made a chunk's score, the best first."""

    ranks: NDArray[np.int64]
    gains: NDArray[np.float64]
    """What each added to the score."""


class KeySearch:
    """Searches a corpus by the keys of one question at a time; safe to use from several threads.

    Attributes:
        counter: counts the keys.
    """

    def __init__(self, corpus: NgramCorpus) -> None:
        self.counter = KeyCounter(corpus)
        self._corpus = corpus
        self._texts = TextCache(corpus)

    def find(self, ranked: RankedKeys, k: int, allowed: NDArray[np.int64] | None) -> Found:
        """The k best chunks for which a key votes; equal ones by id.

        Args:
            ranked: the question's keys.
            k: how many.
            allowed: the ids of the chunks that may be found, ascending; None for all.
        """
        chunks, _ = self._chunks(self._candidates(ranked, allowed), allowed)
        scores = self._score(ranked, chunks)[0].astype(np.float32)
        voted = np.flatnonzero(scores > 0)
        chunks, scores = chunks[voted], scores[voted]
        chosen = top_k(scores, k, ids=self._corpus.places("chunks", chunks).ids)
        return Found(chunks[chosen], scores[chosen])

    def votes(self, ranked: RankedKeys, chunk: int) -> Votes:
        """Who voted for a chunk."""
        return self._score(ranked, np.array([chunk]))[1]

    def _candidates(self, ranked: RankedKeys, allowed: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """The best documents with chunks that may be found: by the keys that find documents, wherever they stand."""
        finders = ranked.finders
        number, document = self.counter.find(ranked.ngrams.take(finders), ranked.kind[finders] == Kind.TITLE)
        documents, first = np.unique(document, return_index=True)
        scores = self._provisional(ranked, finders[number], np.append(first, len(number)))
        possible = np.flatnonzero(self._chunks(documents, allowed)[1])
        documents, scores = documents[possible], scores[possible]
        documents = documents[top_k(scores, MOST_DOCUMENTS, ids=self._corpus.places("documents", documents).ids)]
        tokens = self._corpus.body.lengths(documents) + self._corpus.title.lengths(documents)
        return np.sort(documents[np.cumsum(tokens) - tokens < MOST_TOKENS])

    def _provisional(
        self, ranked: RankedKeys, ranks: NDArray[np.int64], offsets: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Scores of documents by their keys: `ranks[offsets[i]:offsets[i + 1]]` are those of document i, ascending."""
        from mnemodex.retrievers.seal.kernels import score_documents

        if not ranked.together:
            return ranked.weights[ranks[offsets[:-1]]].astype(np.float32)
        scores = np.zeros(len(offsets) - 1)
        score_documents(ranked.arrays, ranks, offsets, self._stamps(), scores)
        return scores.astype(np.float32)

    def _chunks(
        self, documents: NDArray[np.int64], allowed: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The chunks of documents that may be found, and how many each document has."""
        first, sizes = self._corpus.chunks_in(documents)
        chunks = spans(first, sizes)
        if allowed is None:
            return chunks, sizes
        kept = np.isin(self._corpus.places("chunks", chunks).ids, allowed)
        place = np.repeat(np.arange(len(documents)), sizes)
        return chunks[kept], np.bincount(place[kept], minlength=len(documents))

    def _score(self, ranked: RankedKeys, chunks: NDArray[np.int64]) -> tuple[NDArray[np.float64], Votes]:
        """The scores of chunks, and the votes for the last one."""
        from mnemodex.retrievers.seal.kernels import score_chunks

        documents, starts, stops = self._corpus.owned(chunks)
        distinct, place = np.unique(documents, return_inverse=True)
        rows = np.stack([place, starts, stops], axis=1)
        votes = np.empty(len(ranked), np.int64), np.empty(len(ranked))
        scores = np.empty(len(chunks))
        longest = int(ranked.ngrams.lengths.max(initial=0)) if ranked.together else 0
        question = ranked.trie, ranked.arrays, longest
        count = score_chunks(question, self._texts.read(distinct), rows, self._stamps(), votes, scores)
        return scores, Votes(votes[0][:count], votes[1][:count])

    def _stamps(self) -> NDArray[np.int64]:
        return np.zeros(int(self._corpus.body.vocabulary.ids[-1]) + 1, np.int64)
