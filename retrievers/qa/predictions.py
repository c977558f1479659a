"""One answer to a question, chosen from the pairs that were found for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnemodex.retrievers.hits import MISSING_SCORE

if TYPE_CHECKING:
    from mnemodex.retrievers.qa.hits import Pair, PairHits


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer to a question.

    Attributes:
        answer: None where there is none.
        confidence: how sure it is: the higher, the surer. It ranks the predictions of one index; -inf without an
            answer.
        pair: the pair that the answer is of, without its chunk; None without one.
        declined: the answer that it was not sure enough of, where the index abstains.
    """

    answer: str | None
    confidence: float
    pair: Pair | None
    declined: str | None = None


NO_PREDICTION = Prediction(None, float(MISSING_SCORE), None)
"""Of a question that no pair was found for."""


def choose(hits: PairHits) -> list[Prediction]:
    """Return the first answer of the nearest pair of each query; its score is the confidence."""
    pairs = hits.pairs(with_chunks=False)
    return [Prediction(row[0].answers[0], row[0].score, row[0]) if row else NO_PREDICTION for row in pairs]
