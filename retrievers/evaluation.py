"""Evaluation over documents by ir-measures."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.retrievers.base import check
from mnemodex.retrievers.hits import MISSING_ID, trec_run
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.base import Retriever
    from mnemodex.retrievers.queries import Query

_CUTOFFS = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The measures of an index.

    Attributes:
        queries: how many had gold.
        queries_without_gold: how many had none and are left out.
        k: documents a query.
        metrics: R@k is the part of a query's gold documents among its first k documents, averaged over queries; nDCG
            and RR as usual.
        seconds: wall time of the search, encoding included, loading excluded.
    """

    index: str
    queries: int
    queries_without_gold: int
    k: int
    metrics: dict[str, float]
    seconds: float
    run: str

    @property
    def queries_per_second(self) -> float:
        """All queries in one batch."""
        return self.queries / self.seconds

    def to_json(self) -> dict[str, Any]:
        """Return what `eval --json` prints."""
        measures = asdict(self) | {"queries_per_second": self.queries_per_second}
        del measures["run"]
        return measures


def evaluate(retriever: Retriever, queries: Sequence[Query], *, k: int = 10) -> Evaluation:
    """Search all queries that have gold, fold chunks to documents, and measure.

    Raises:
        QueryError: no query has gold, or k is below 1.
    """
    from ir_measures import RR, Qrel, R, ScoredDoc, calc_aggregate, nDCG

    judged = [query for query in queries if query.gold]
    if not judged:
        where = "gold_ids, or qrels with positive judgements"
        raise QueryError(f"no query has gold documents ({where}); give --qrels FILE, or other queries")
    questions = check([query.question for query in judged], k)
    cutoffs = sorted({*_CUTOFFS, k})
    # Loads the models before the clock starts.
    retriever.search(questions[:1], 1)
    started = time.perf_counter()
    answers = search_documents(retriever, questions, cutoffs[-1])
    seconds = time.perf_counter() - started
    measures = {f"R@{cutoff}": R @ cutoff for cutoff in cutoffs} | {"nDCG@10": nDCG @ 10, "RR@10": RR @ 10}
    qrels = [Qrel(query.id, key, relevance) for query in judged for key, relevance in query.gold.items()]
    # Measures read the order from the scores: ties and float32 must not change it, so the rank itself is the score.
    run = [
        ScoredDoc(query.id, key, float(-rank))
        for query, answer in zip(judged, answers, strict=True)
        for rank, (key, _) in enumerate(answer)
    ]
    values = calc_aggregate(list(measures.values()), qrels, run)
    return Evaluation(
        retriever.name,
        len(judged),
        len(queries) - len(judged),
        k,
        {name: float(values[measure]) for name, measure in measures.items()},
        seconds,
        trec_run([query.id for query in judged], [answer[:k] for answer in answers], tag=retriever.name),
    )


def search_documents(retriever: Retriever, queries: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
    """Return the keys and scores of the first k documents of each query; a document scores as its best chunk.

    Chunks are over-fetched until there are so many documents, or no more chunks.
    """
    depth = k
    while True:
        hits = retriever.search(queries, depth)
        exhausted = (hits.ids == MISSING_ID).any(axis=1)
        enough = np.array([len(np.unique(row[row != MISSING_ID])) >= k for row in hits.document_ids()], bool)
        if (exhausted | enough).all():
            return [answer[:k] for answer in hits.documents()]
        depth *= 2
