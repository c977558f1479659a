"""Evaluation over documents by ir-measures."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnemodex.retrievers.base import check
from mnemodex.retrievers.folding import search_documents
from mnemodex.retrievers.hits import trec_run
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.base import Retriever
    from mnemodex.retrievers.queries import Query

_CUTOFFS = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation measured.

    Attributes:
        index: the index's name.
        queries: how many had gold.
        without_gold: how many had none and are left out.
        k: documents a query.
        metrics: R@k is the part of a query's gold documents among its first k documents, averaged over queries; nDCG
            and RR as usual.
        seconds: wall time of the search, encoding included, loading excluded.
        run: the TREC run.
    """

    index: str
    queries: int
    without_gold: int
    k: int
    metrics: dict[str, float]
    seconds: float
    run: str

    @property
    def queries_per_second(self) -> float:
        """All queries in one batch."""
        return self.queries / self.seconds

    def to_json(self) -> dict[str, Any]:
        """As `eval --json` prints it."""
        return {
            "index": self.index,
            "queries": self.queries,
            "queries_without_gold": self.without_gold,
            "k": self.k,
            "metrics": self.metrics,
            "seconds": self.seconds,
            "queries_per_second": self.queries_per_second,
        }


def evaluate(retriever: Retriever, queries: Sequence[Query], *, k: int = 10) -> Evaluation:
    """Search all queries that have gold, fold chunks to documents, and measure.

    Raises:
        QueryError: no query has gold, or k is below 1.
    """
    from ir_measures import RR, Qrel, R, ScoredDoc, calc_aggregate, nDCG

    asked = [query for query in queries if query.gold]
    if not asked:
        msg = (
            "no query has gold documents (gold_ids, or qrels with positive judgements); give --qrels FILE, or other "
            "queries"
        )
        raise QueryError(msg)
    questions = check([query.question for query in asked], k)
    depth = max(k, *_CUTOFFS)
    retriever.search(questions[:1], 1)
    started = time.perf_counter()
    answers = search_documents(retriever, questions, depth)
    seconds = time.perf_counter() - started
    cutoffs = sorted({*_CUTOFFS, k})
    measures = {f"R@{cutoff}": R @ cutoff for cutoff in cutoffs} | {"nDCG@10": nDCG @ 10, "RR@10": RR @ 10}
    qrels = [Qrel(query.id, key, relevance) for query in asked for key, relevance in query.gold.items()]
    # Measures read the order from the scores: ties and float32 must not change it, so the rank itself is the score.
    run = [
        ScoredDoc(query.id, key, float(-rank))
        for query, answer in zip(asked, answers, strict=True)
        for rank, (key, _) in enumerate(answer)
    ]
    values = calc_aggregate(list(measures.values()), qrels, run)
    return Evaluation(
        retriever.name,
        len(asked),
        len(queries) - len(asked),
        k,
        {name: float(values[measure]) for name, measure in measures.items()},
        seconds,
        trec_run([query.id for query in asked], [answer[:k] for answer in answers], tag=retriever.name),
    )
