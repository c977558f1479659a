"""What a key is worth: the weights of SEAL (Bevilacqua et al., *Autoregressive Search Engines*, 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from mnemodex.retrievers.seal.keys import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnemodex.retrievers.seal.keys import Keys

Score = Literal["lm", "lm_fm", "intersective"]
"""`lm`: a document scores as its best key, by the model alone; `lm_fm`: likewise, by model and index; `intersective`:
all keys of a document together, by model and index."""

ALPHA = 2
SMOOTHING = 5
MARGIN = 0.1
_CERTAIN = -1e-16
"""A model that is more sure of a key than this is taken to be just so sure: the odds of 1 are infinite."""


def weigh(keys: Keys, counts: NDArray[np.int64], tokens: int, score: Score) -> NDArray[np.float64]:
    """The weights of keys.

    Args:
        keys: of any number of questions.
        counts: how often each key occurs where it counts, int64 of shape (keys,).
        tokens: of the whole corpus, titles included.
        score: what the weights are for.

    Returns:
        float64 of shape (keys,), none below 0.
    """
    if score == "lm":
        return lm_weights(keys) ** ALPHA
    # Single words have so many documents that they may only add to what longer keys found.
    unigram = (keys.kind == Kind.UNIGRAM) & (score == "intersective")
    weights: NDArray[np.float64] = odds_weights(keys.log_probability, counts, tokens) ** np.where(unigram, 1, ALPHA)
    return weights


def lm_weights(keys: Keys) -> NDArray[np.float64]:
    """By how much each key's log probability exceeds that of its question's worst key less `MARGIN`, or 0.

    Unigrams do not count among these keys. The paper's penalty for length is 0, and so left out.
    """
    counted = keys.kind != Kind.UNIGRAM
    worst = np.full(int(keys.query.max(initial=-1)) + 1, np.inf)
    np.minimum.at(worst, keys.query[counted], keys.log_probability[counted])
    weights: NDArray[np.float64] = np.maximum(0.0, keys.log_probability - (worst[keys.query] - MARGIN))
    return weights


def own_log_probability(
    counts: NDArray[np.int64], token_counts: NDArray[np.int64], offsets: NDArray[np.int64], tokens: int
) -> NDArray[np.float64]:
    """What is thought of a question's own n-grams without a model.

    The odds that a document which answers has a token of the question are even: a token's weight is its inverse
    frequency (Robertson and Spärck Jones, *Relevance weighting of search terms*, 1976). Tokens are taken to be
    independent, as there: an n-gram is thought so probable that its weight is the sum of those of its tokens. Even odds
    for all n-grams would make three rare words in a row worth no more than one of them.

    Args:
        counts: how often each n-gram occurs, int64 of shape (n-grams,).
        token_counts: how often each of its tokens occurs, of all n-grams one after the other.
        offsets: where each n-gram's begin, int64 of shape (n-grams + 1,).
        tokens: of the whole corpus.

    Returns:
        float64 of shape (n-grams,).
    """
    even = np.log(0.5)
    of_tokens = np.add.reduceat(odds_weights(even, token_counts, tokens), offsets[:-1])
    log_odds = of_tokens - odds_weights(even, counts, tokens)
    thought: NDArray[np.float64] = -np.logaddexp(0, -log_odds)
    return thought


def odds_weights(
    log_probability: NDArray[np.float64] | float, counts: NDArray[np.int64], tokens: int
) -> NDArray[np.float64]:
    """The logarithm of how many times the odds of a key are higher for the question than for the corpus, or 0.

    `max(0, log(P(n|q) (1 - P(n)) / (P(n) (1 - P(n|q)))))` with `P(n) = (F + 5) / (N + 5)`, F occurrences of the key
    among N tokens.
    """
    likely = np.minimum(log_probability, _CERTAIN)
    # 1 - P(n) = (N - F) / (N + 5); a key that is the whole corpus has the odds of infinity.
    with np.errstate(divide="ignore"):
        corpus = np.log(counts + SMOOTHING) - np.log(np.maximum(tokens - counts, 0))
    weights: NDArray[np.float64] = np.maximum(0.0, likely - np.log(-np.expm1(likely)) - corpus)
    return weights
