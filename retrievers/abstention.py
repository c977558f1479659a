"""Whether the best score of a question says that no document answers it, and a threshold of it.

The confidence of a question is the score of its best hit. Of what was tried on the scores of the first hits alone its
AUROC is the highest in the mean of data sets and retrievers, and on one of these it is worse than chance
(`benchmarks/abstention.py`). It is comparable within one index only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.retrievers.base import check
from mnemodex.retrievers.queries import search_each
from mnemodex.retrievers.risk_coverage import area, auroc, auroc_interval, choose_threshold, risk_coverage
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.base import Retriever
    from mnemodex.retrievers.queries import Query
    from mnemodex.retrievers.risk_coverage import RiskCoverage
    from mnemodex.schemas.manifest import Abstention

    Documents = list[tuple[str, float]]
    """Keys and scores of a question's documents, best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AbstentionMeasures:
    """How well the confidence of questions says whether they have gold.

    Attributes:
        answerable: questions with gold.
        unanswerable: questions that are known to have none.
        auroc: the part of the pairs of one of each in which the one with gold is surer, ties counting half.
        low: where its 95 % interval begins, see `auroc_interval`.
        high: where it ends.
        area: under the curve of risk over coverage, divided by the coverage that it reaches; see `area`. None where no
            question has a hit.
        risk: the risk where every question that has a hit is answered; None where none has one.
        risk_coverage: threshold, coverage and risk, from the fewest answers to all. An answer is wrong whose first k
            documents hold no gold.
    """

    answerable: int
    unanswerable: int
    auroc: float
    low: float
    high: float
    area: float | None
    risk: float | None
    risk_coverage: list[dict[str, float]]


def select_known(queries: Sequence[Query]) -> list[Query]:
    """Return the queries of which it is known whether they have gold: those with it, then the unanswerable ones."""
    return [query for query in queries if query.gold] + [
        query for query in queries if query.unanswerable and not query.gold
    ]


def measure_abstention(queries: Sequence[Query], answers: Sequence[Documents], k: int) -> AbstentionMeasures | None:
    """Measure abstention, given the documents of each query; None where all have gold, or none has.

    Queries without gold count as unanswerable.
    """
    confidence = [answer[0][1] if answer else -np.inf for answer in answers]
    has_gold = [bool(query.gold) for query in queries]
    separation, interval = auroc(confidence, has_gold), auroc_interval(confidence, has_gold)
    if separation is None or interval is None:
        return None
    curve = _curve(queries, answers, k)
    return AbstentionMeasures(
        answerable=sum(has_gold),
        unanswerable=len(queries) - sum(has_gold),
        auroc=separation,
        low=interval[0],
        high=interval[1],
        area=area(curve),
        risk=float(curve.risk[-1]) if len(curve.risk) else None,
        risk_coverage=curve.points(),
    )


def calibrate(
    retriever: Retriever,
    queries: Sequence[Query],
    *,
    k: int = 10,
    coverage: float | None = None,
    risk: float | None = None,
) -> Abstention:
    """Return the least best score that is worth an answer, chosen with questions of known gold.

    It holds for this index as it is, and for questions like these; a question is answered whose first hit has at least
    this score. An answer is wrong whose first k hits hold no gold, and so is any answer to an unanswerable question.

    Args:
        retriever: answers with chunks.
        queries: with gold, or unanswerable; of others nothing is known, and they are left out.
        k: hits a question.
        coverage: the part of the questions that is answered, at least.
        risk: or the part of the answers that may be wrong, at most.

    Raises:
        QueryError: both aims are given, or none, or one that is no part; no query has gold; none has a hit; no
            threshold has the risk.
    """
    if (coverage is None) == (risk is None):
        raise QueryError("calibrate: give either `coverage`, the part that is answered, or `risk`, that may be wrong")
    if not (0 < coverage <= 1 if coverage is not None else 0 <= (risk or 0.0) < 1):
        raise QueryError("calibrate: `coverage` and `risk` are parts, from 0 to 1; give another one")
    known = select_known(queries)
    if not any(query.gold for query in known):
        raise QueryError("calibrate: no query has gold documents; give queries with gold_ids")
    check([query.question for query in known], k)
    answers = search_each(known, lambda asked, where: retriever.search(asked, k, where=where).documents())
    curve = _curve(known, answers, k)
    if not len(curve.threshold):
        raise QueryError(f"calibrate: none of the {len(known)} queries has a hit; check the queries and the index")
    return choose_threshold(curve, len(known), coverage=coverage, risk=risk, at="calibrate")


def _curve(queries: Sequence[Query], answers: Sequence[Documents], k: int) -> RiskCoverage:
    """Return the risk at every coverage; queries without a hit are never answered."""
    judged = [
        (answer[0][1], any(key in query.gold for key, _ in answer[:k]))
        for query, answer in zip(queries, answers, strict=True)
        if answer
    ]
    return risk_coverage([score for score, _ in judged], [right for _, right in judged], len(queries))
