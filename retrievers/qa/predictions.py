"""One answer to a question, chosen from the pairs that were found for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa

from mnemodex.indexers.arrays import begins
from mnemodex.indexers.ngram.ragged import spans
from mnemodex.indexers.qa import normalize_question
from mnemodex.retrievers.hits import MISSING_ID, MISSING_SCORE
from mnemodex.retrievers.qa.hits import Pair
from mnemodex.retrievers.readers.answers import number_forms
from mnemodex.schemas.store.columns import numbers, to_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Bools, Float32s, Float64s, Int64s
    from mnemodex.retrievers.hits import Chunk
    from mnemodex.retrievers.qa.hits import PairHits

VOTERS = 20
"""Pairs whose answers are votes."""
_SLOPE, _SAME_WORD, _NO_ANSWER = 11.0, 1.0, 10.0
"""Of a pair's weight: times its score, of the same first word as the query's, and of none of the pairs being right.

Fitted to how likely each pair of WebQuestions' 3,778 training questions has an answer of another one of them (11.3, 1.0
and 10.2). Of 1,800 questions of EfficientQA's development set, among each other, they are 11.3, 1.0 and 10.7. Both
are by scores of the questions alone.
"""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer to a question.

    Attributes:
        answer: None where there is none.
        confidence: how sure it is: the higher, the surer. It ranks the predictions of one index: the part of the votes,
            from 0 to 1, or the score of the nearest pair; -inf without an answer.
        pair: the pair that the answer is of, without its chunk; None without one.
        declined: the answer that it was not sure enough of, where the index abstains.
        passages: of the index that is searched where the pairs do not know the answer, best first.
        error: why the reader of the passages failed, if it did.
    """

    answer: str | None
    confidence: float
    pair: Pair | None
    declined: str | None = None
    passages: tuple[Chunk, ...] = ()
    error: str | None = None

    @property
    def source(self) -> Literal["pairs", "passages"]:
        """What it comes from: pairs, or passages where these do not know the answer."""
        return "passages" if self.passages else "pairs"


NO_PREDICTION = Prediction(None, float(MISSING_SCORE), None)
"""Of a question that no pair was found for."""


def choose(hits: PairHits) -> list[Prediction]:
    """Return the first answer of the nearest pair of each query; its score is the confidence."""
    pairs = hits.pairs(with_chunks=False)
    return [Prediction(row[0].answers[0], row[0].score, row[0]) if row else NO_PREDICTION for row in pairs]


def vote(hits: PairHits, queries: Sequence[str], scores: Float32s | None = None) -> list[Prediction]:
    """Return the answer of each query that most of its first `VOTERS` pairs give; its votes are the confidence.

    A pair votes for all of its answers. Its weight is the softmax of its score, times a slope, over the pairs and the
    case that none of them is right; it is greater where its question begins with the word that the query begins with,
    which says what kind of thing is asked for ("who", "where"). Answers are equal in SQuAD's normal form, and written
    as the nearest pair writes them; of equal votes the nearest pair's first answer is taken.

    The scores that weigh are float32 of the shape of the hits' own, which they are by default.
    """
    is_hit = (hits.ids != MISSING_ID) & (np.arange(hits.ids.shape[1]) < VOTERS)
    query, column = np.nonzero(is_hit)
    ids, row = np.unique(hits.ids[is_hit], return_inverse=True)
    table = hits.read(ids)
    first_words = np.array([_first_word(question) for question in table["question"].to_pylist()], object)
    asked = np.array([_first_word(question) for question in queries], object)
    same_word = np.zeros(is_hit.shape)
    same_word[is_hit] = first_words[row] == asked[query]
    weights = _weigh(hits.scores if scores is None else scores, same_word, is_hit)[is_hit]
    answers = table["answers"].combine_chunks()
    sizes = numbers(answers.value_lengths())
    voter = np.repeat(np.arange(len(row)), sizes[row])
    answer = spans((np.cumsum(sizes) - sizes)[row], sizes[row])
    best, votes = _elect(query[voter], number_forms(answers.flatten())[answer], weights[voter])
    texts = answers.flatten().take(to_column(answer[best], pa.int64())).to_pylist()
    predictions = [NO_PREDICTION] * len(queries)
    for hit, text, confidence in zip(voter[best].tolist(), texts, votes.tolist(), strict=True):
        pair = _pair_of(hits, table, query[hit], column[hit], row[hit])
        predictions[query[hit]] = Prediction(text, confidence, pair)
    return predictions


def _elect(query: Int64s, form: Int64s, weight: Float64s) -> tuple[Int64s, Float64s]:
    """Return of each query the first vote for the form of most votes, and how many these are, queries ascending.

    Votes are arrays of shape (n,), those of a query best first.
    """
    order = np.lexsort((form, query))
    starts = begins(query[order], form[order])
    votes = np.add.reduceat(weight[order], starts) if len(starts) else weight
    first = order[starts]
    ranked = np.lexsort((first, -votes, query[first]))
    best = ranked[begins(query[first[ranked]])]
    return first[best], votes[best]


def _first_word(question: str) -> str:
    return normalize_question(question).partition(" ")[0]


def _weigh(scores: Float32s, same_word: Float64s, is_hit: Bools) -> Float64s:
    """Return the weight of each pair, all arrays of shape (queries, k)."""
    powers = np.where(is_hit, _SLOPE * scores.astype(np.float64) + _SAME_WORD * same_word, -np.inf)
    highest = np.maximum(powers.max(axis=1, initial=_NO_ANSWER), _NO_ANSWER)[:, None]
    weights: Float64s = np.exp(powers - highest)
    weights /= weights.sum(axis=1, keepdims=True) + np.exp(_NO_ANSWER - highest)
    return weights


def _pair_of(hits: PairHits, table: pa.Table, query: int, column: int, row: int) -> Pair:
    return Pair(
        int(column) + 1,
        float(hits.scores[query, column]),
        int(hits.ids[query, column]),
        table["question"][row].as_py(),
        tuple(table["answers"][row].as_py()),
    )
