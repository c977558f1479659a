"""Keys: the n-grams by which SEAL finds documents (Bevilacqua et al., 2022), their occurrences, weights and order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from mnemodex.indexers.ngram.ragged import Ragged, offsets_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Bools, Float64s, Int64s, Integers
    from mnemodex.retrievers.ngram.corpus import NgramCorpus
    from mnemodex.retrievers.seal.kernels import KeyArrays, Trie

Score = Literal["lm", "lm_fm", "intersective"]
"""`lm`: a document scores as its best key, by the model alone; `lm_fm`: likewise, by model and index; `intersective`:
all keys of a document together, by model and index."""

ALPHA = 2
SMOOTHING = 5
MARGIN = 0.1
MOST_OCCURRENCES = 1500
"""Keys that occur more often do not find documents; they only score what others found."""
_CERTAIN = -1e-16
"""A model that is more sure of a key than this is taken to be just so sure: the odds of 1 are infinite."""


class Kind(IntEnum):
    """Where a key comes from, and so where it counts.

    BODY and UNIGRAM keys were written by the language model, and QUERY keys are in the question: they count wherever
    their tokens are, in a document's text or title. A TITLE key counts only as a document's whole title.
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

    query: Int64s
    ngrams: Ragged
    log_probability: Float64s
    kind: Integers

    def __len__(self) -> int:
        return len(self.query)

    @classmethod
    def concatenate(cls, parts: Sequence[Keys]) -> Keys:
        """Return the keys of all parts, by question; those of one question in the order of the parts."""
        lengths = np.concatenate([part.ngrams.lengths for part in parts])
        keys = cls(
            np.concatenate([part.query for part in parts]),
            Ragged(np.concatenate([part.ngrams.values for part in parts]), offsets_of(lengths)),
            np.concatenate([part.log_probability for part in parts]),
            np.concatenate([part.kind for part in parts]),
        )
        return keys.take(np.argsort(keys.query, kind="stable"))

    def part(self, start: int, stop: int) -> Keys:
        """Return the keys of the questions [start, stop), which are numbered from 0 there."""
        low, high = np.searchsorted(self.query, [start, stop]).tolist()
        rows = slice(low, high)
        return Keys(self.query[rows] - start, self.ngrams.part(low, high), self.log_probability[rows], self.kind[rows])

    def take(self, rows: Int64s) -> Keys:
        """Return some of the keys, in the order given."""
        return Keys(self.query[rows], self.ngrams.take(rows), self.log_probability[rows], self.kind[rows])


class KeyCounter:
    """Counts and finds keys: titles among whole titles, all others in texts and titles.

    Its methods raise `ModelError` for a token id that is not in the index's vocabulary, and `QueryError` for an empty
    key.

    Attributes:
        tokens: of all texts and titles.
    """

    def __init__(self, corpus: NgramCorpus) -> None:
        self._body, self._title = corpus.body, corpus.title
        self.tokens = self._body.token_count + self._title.token_count

    def count(self, keys: Keys) -> Int64s:
        """Return the occurrences of keys: int64 of shape (keys,)."""
        counts = np.zeros(len(keys), np.int64)
        title = keys.kind == Kind.TITLE
        single = np.flatnonzero((keys.ngrams.lengths == 1) & ~title)
        counts[single] = self.count_tokens(keys.ngrams.take(single))
        longer = np.flatnonzero((keys.ngrams.lengths != 1) & ~title)
        ngrams = keys.ngrams.take(longer)
        counts[longer] = self._body.count(ngrams) + self._title.count(ngrams)
        titles = np.flatnonzero(title)
        counts[titles] = self._title.ends(self._beginnings(keys.ngrams.take(titles)))
        return counts

    def count_tokens(self, ngrams: Ragged) -> Int64s:
        """Return the occurrences of each token of n-grams: int64 of the shape of `ngrams.values`."""
        return self._unigrams[self._body.vocabulary.symbols(ngrams)]

    def find(self, ngrams: Ragged, title: Bools) -> tuple[Int64s, Int64s]:
        """Return the numbers of keys and their documents, two int64 arrays, each pair once, by document and key.

        All occurrences are read, and for a title (bool of shape (keys,)) all titles that begin with it.
        """
        titles, others = np.flatnonzero(title), np.flatnonzero(~title)
        begin, anywhere = ngrams.take(titles), ngrams.take(others)
        matches = self._title.documents_of(self._beginnings(begin))
        rows = np.repeat(np.arange(len(titles)), np.diff(matches.offsets))
        # Titles that begin alike are equal if they are as long.
        equal = self._title.lengths(matches.documents) == begin.lengths[rows]
        numbers, documents = [titles[rows[equal]]], [matches.documents[equal]]
        for index in (self._body, self._title):
            matches = index.documents(anywhere)
            numbers.append(np.repeat(others, np.diff(matches.offsets)))
            documents.append(matches.documents)
        width = max(len(ngrams), 1)
        pairs = np.unique(np.concatenate(documents) * width + np.concatenate(numbers))
        return pairs % width, pairs // width

    def _beginnings(self, titles: Ragged) -> Int64s:
        """Return the ranges of titles that begin with some tokens."""
        return self._title.extend(self._title.starts(len(titles)), titles)

    @cached_property
    def _unigrams(self) -> Int64s:
        """How often each token of the vocabulary occurs, by its symbol."""
        ngrams = self._body.vocabulary.ids[:, None]
        return self._body.count(ngrams) + self._title.count(ngrams)


def weigh(keys: Keys, counts: Int64s, tokens: int, score: Score) -> Float64s:
    """Return the weights of keys of any number of questions, float64 of shape (keys,), none below 0.

    `counts` say how often each key occurs where it counts, int64 of shape (keys,); `tokens` are those of the whole
    corpus, titles included.
    """
    unigram = keys.kind == Kind.UNIGRAM
    if score == "lm":
        # By how much a log probability exceeds that of its question's worst key less the margin. The paper's penalty
        # for length is 0, and so left out.
        worst = np.full(int(keys.query.max(initial=-1)) + 1, np.inf)
        np.minimum.at(worst, keys.query[~unigram], keys.log_probability[~unigram])
        weights: Float64s = np.maximum(0.0, keys.log_probability - (worst[keys.query] - MARGIN))
        return weights**ALPHA
    # Single words have so many documents that they may only add to what longer keys found.
    powers = np.where(unigram & (score == "intersective"), 1, ALPHA)
    return _log_odds_ratio(keys.log_probability, counts, tokens) ** powers


def own_log_probability(counts: Int64s, token_counts: Int64s, offsets: Int64s, tokens: int) -> Float64s:
    """Return the log probability of a question's own n-grams without a model, float64 of shape (n-grams,).

    The odds that a document which answers has a token of the question are even: a token's weight is its inverse
    frequency (Robertson and Spärck Jones, *Relevance weighting of search terms*, 1976). Tokens are taken to be
    independent, as there: an n-gram is so probable that its weight is the sum of those of its tokens. With even odds
    for all n-grams, three rare words in a row would weigh no more than one of them.

    Args:
        counts: how often each n-gram occurs, int64 of shape (n-grams,).
        token_counts: how often each of its tokens occurs, of all n-grams one after the other.
        offsets: where each n-gram's begin, int64 of shape (n-grams + 1,).
        tokens: of the whole corpus.
    """
    even = np.log(0.5)
    of_tokens = np.add.reduceat(_log_odds_ratio(even, token_counts, tokens), offsets[:-1])
    log_odds = of_tokens - _log_odds_ratio(even, counts, tokens)
    return -np.logaddexp(0, -log_odds)


def _log_odds_ratio(log_probability: Float64s | float, counts: Int64s, tokens: int) -> Float64s:
    """Return the logarithm of how many times the odds of a key are higher for the question than for the corpus, or 0.

    `max(0, log(P(n|q) (1 - P(n)) / (P(n) (1 - P(n|q)))))` with `P(n) = (F + 5) / (N + 5)`, F occurrences of the key
    among N tokens.
    """
    likely = np.minimum(log_probability, _CERTAIN)
    # 1 - P(n) = (N - F) / (N + 5); a key that is the whole corpus has the odds of infinity.
    with np.errstate(divide="ignore"):
        corpus = np.log(counts + SMOOTHING) - np.log(np.maximum(tokens - counts, 0))
    ratio: Float64s = np.maximum(0.0, likely - np.log(-np.expm1(likely)) - corpus)
    return ratio


@dataclass(frozen=True, slots=True)
class RankedKeys:
    """The keys of a question that weigh more than 0, the best first, of equal weights the longest; unigrams last.

    Attributes:
        kind: int8 of shape (keys,), of `Kind`.
        finders: the ranks of the keys that find documents: no unigrams, and none that are too frequent.
        arrays: as kernels take them: weights, lengths, the distinct tokens of each key, and where each key's begin.
        trie: see `kernels`; of keys with the same tokens it holds the first.
        together: whether the keys of a document add up; else only its best one counts.
    """

    ngrams: Ragged
    kind: Integers
    finders: Int64s
    arrays: KeyArrays
    trie: Trie
    together: bool

    @classmethod
    def of(cls, keys: Keys, own: slice, weights: Float64s, counts: Int64s, *, together: bool) -> RankedKeys:
        """Rank a question's own keys, which are a slice of those of all questions and of their weights and counts."""
        from mnemodex.retrievers.seal.kernels import insert_keys

        # Unigrams come last, and where only the best key counts, there are none.
        all_ngrams, unigram = keys.ngrams.part(own.start, own.stop), keys.kind[own] == Kind.UNIGRAM
        chosen = np.flatnonzero((weights[own] > 0) & (counts[own] > 0) & (together | ~unigram))
        order = np.lexsort((-all_ngrams.lengths[chosen], -weights[own][chosen], unigram[chosen]))
        ngrams, rows = all_ngrams.take(chosen[order]), own.start + chosen[order]
        kind = keys.kind[rows]
        size = 1 << int(2 * len(ngrams.values) + 1).bit_length()
        trie = np.full((size, 2), -1, np.int64), np.full((len(ngrams.values) + 1, 2), -1, np.int32)
        first = np.zeros(len(rows), np.bool_)
        title = (kind == Kind.TITLE).astype(np.uint8)
        insert_keys(ngrams.values.astype(np.int64), ngrams.offsets, title, trie, first)
        finders = np.flatnonzero(first & (counts[rows] <= MOST_OCCURRENCES) & (kind != Kind.UNIGRAM))
        return cls(ngrams, kind, finders, (weights[rows], ngrams.lengths, *_distinct(ngrams)), trie, together)

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def weights(self) -> Float64s:
        """Float64 of shape (keys,)."""
        return self.arrays[0]


def _distinct(ngrams: Ragged) -> tuple[Int64s, Int64s]:
    """Return the distinct tokens of each n-gram, and where each one's begin."""
    row = np.repeat(np.arange(len(ngrams)), ngrams.lengths)
    pairs = np.unique(np.stack([row, ngrams.values]), axis=1)
    return np.ascontiguousarray(pairs[1]), np.searchsorted(pairs[0], np.arange(len(ngrams) + 1)).astype(np.int64)
