"""Evaluation over documents by ir-measures."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.retrievers.abstention import AbstentionMeasures, measure_abstention, select_known
from mnemodex.retrievers.base import MOST_HITS, check
from mnemodex.retrievers.hits import MISSING_ID
from mnemodex.retrievers.queries import search_each
from mnemodex.retrievers.trec import trec_run
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnemodex.retrievers.abstention import Documents
    from mnemodex.retrievers.base import Retriever
    from mnemodex.retrievers.queries import Query

_CUTOFFS = (1, 2, 5, 10)
_ALL_CUTOFFS = (5, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What is measured of an index with queries.

    Attributes:
        queries: how many are measured with.
        k: hits a query.
        metrics: by measure.
        by_kind: the same of each kind of queries, as their file names these.
        per_query: by query and measure.
        seconds: wall time of what is asked of the index, encoding included, loading excluded.
    """

    index: str
    queries: int
    k: int
    metrics: dict[str, float]
    by_kind: dict[str, dict[str, float]]
    per_query: dict[str, dict[str, Any]]
    seconds: float

    @property
    def queries_per_second(self) -> float:
        """All queries in one batch."""
        return self.queries / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation(Measures):
    """The measures of an index over documents.

    Attributes:
        queries: how many had gold.
        queries_without_gold: how many had none and are left out of the metrics.
        k: documents a query.
        metrics: R@k is the part of a query's gold documents among its first k documents, averaged over queries; nDCG
            and RR as usual; all@k is the part of the queries that have all of their gold among these.
        per_query: the same by query and measure.
        seconds: wall time of the search, encoding included, loading excluded.
        own_document: queries that found the document of their own id, which `exclude_self` leaves out.
        own_first: queries that rank this document first, although it is not gold.
        abstention: how well the best score says whether a question has gold; None where no question is known to be
            unanswerable.
    """

    queries_without_gold: int
    own_document: int
    own_first: int
    abstention: AbstentionMeasures | None
    run: str

    def to_json(self) -> dict[str, Any]:
        """Return what `eval --json` prints."""
        measures = asdict(self) | {"queries_per_second": self.queries_per_second}
        del measures["run"], measures["per_query"]
        return measures


def evaluate(
    retriever: Retriever,
    queries: Sequence[Query],
    *,
    k: int = 10,
    exclude_self: bool = False,
    groups: Mapping[str, str] | None = None,
    abstention: bool = True,
) -> Evaluation:
    """Search all queries that have gold, each with its own filter, fold chunks to documents, and measure.

    Queries that are known to be unanswerable are searched for the measures of abstention alone, if these are wanted.

    With `groups`, the groups of documents by their keys, they are folded further to these, and gold to the groups of
    its documents: a group scores as its best chunk, and its gold is that of the document that has the most.

    With `exclude_self`, the document whose key is the query's id is no answer to it: in some collections (ArguAna,
    Quora) queries are documents, and BEIR measures them so.

    Raises:
        QueryError: no query has gold, or k is below 1.
    """
    from ir_measures import RR, Qrel, R, ScoredDoc, iter_calc, nDCG

    judged = [replace(query, gold=_fold(query.gold, groups)) for query in queries if query.gold]
    if not judged:
        where = "gold_ids, or qrels with positive judgements"
        raise QueryError(f"no query has gold documents ({where}); give --qrels FILE, or other queries")
    questions = check([query.question for query in judged], k)
    cutoffs = sorted({*_CUTOFFS, k})
    # Loads the models before the clock starts.
    retriever.search(questions[:1], 1)
    started = time.perf_counter()
    depth = cutoffs[-1] + exclude_self
    answers = _search(retriever, judged, depth, groups)
    seconds = time.perf_counter() - started
    known = [*judged, *(select_known(queries)[len(judged) :] if abstention else [])]
    others = _search(retriever, known[len(judged) :], depth, groups)
    own_document = sum(any(key == query.id for key, _ in answer) for query, answer in zip(judged, answers, strict=True))
    if exclude_self:
        answers, others = _without_own(judged, answers), _without_own(known[len(judged) :], others)
        answers = [answer[: cutoffs[-1]] for answer in answers]
    own_first = sum(
        answer[0][0] == query.id and query.id not in query.gold
        for query, answer in zip(judged, answers, strict=True)
        if answer
    )
    measures = {f"R@{cutoff}": R @ cutoff for cutoff in cutoffs} | {"nDCG@10": nDCG @ 10, "RR@10": RR @ 10}
    # The measures' C code ends a name at a zero byte, and dies of a lone surrogate: it gets numbers.
    number: dict[str, str] = {}
    pairs = [
        (str(place), query.gold, answer) for place, (query, answer) in enumerate(zip(judged, answers, strict=True))
    ]
    for _, gold, answer in pairs:
        for key in [*gold, *(key for key, _ in answer)]:
            number.setdefault(key, str(len(number)))
    qrels = [Qrel(name, number[key], relevance) for name, gold, _ in pairs for key, relevance in gold.items()]
    # They read the order from the scores: ties and float32 must not change it, so the rank itself is the score.
    run = [
        ScoredDoc(name, number[key], float(-rank)) for name, _, answer in pairs for rank, (key, _) in enumerate(answer)
    ]
    found = {(one.query_id, one.measure): float(one.value) for one in iter_calc(list(measures.values()), qrels, run)}
    per_query = {
        query.id: _with_all({measure: found[name, measures[measure]] for measure in measures}, {*_ALL_CUTOFFS, k})
        for query, (name, _, _) in zip(judged, pairs, strict=True)
    }
    return Evaluation(
        index=retriever.name,
        queries=len(judged),
        queries_without_gold=len(queries) - len(judged),
        k=k,
        metrics=_means(list(per_query.values())),
        by_kind={kind: _means(rows) for kind, rows in group_by_kind(per_query, judged).items()},
        per_query=per_query,
        seconds=seconds,
        own_document=own_document,
        own_first=own_first,
        abstention=measure_abstention(known, [*answers, *others], k),
        run=trec_run([query.id for query in judged], [answer[:k] for answer in answers], tag=retriever.name),
    )


def _search(
    retriever: Retriever, queries: Sequence[Query], k: int, groups: Mapping[str, str] | None
) -> list[Documents]:
    return search_each(queries, lambda asked, where: search_documents(retriever, asked, k, where=where, groups=groups))


def _without_own(queries: Sequence[Query], answers: Sequence[Documents]) -> list[Documents]:
    """Return the answers without the documents of the queries' own ids."""
    return [
        [(key, score) for key, score in answer if key != query.id]
        for query, answer in zip(queries, answers, strict=True)
    ]


def _with_all(measures: dict[str, float], cutoffs: set[int]) -> dict[str, float]:
    """Return the measures of a query and whether all of its gold is among the first documents, 0 or 1."""
    return measures | {f"all@{cutoff}": float(measures[f"R@{cutoff}"] == 1) for cutoff in sorted(cutoffs)}


def group_by_kind(per_query: dict[str, dict[str, Any]], queries: Sequence[Query]) -> dict[str, list[dict[str, Any]]]:
    """Return the measures of the queries that have a kind, by this, the kinds in order."""
    kinds: dict[str, list[dict[str, Any]]] = {kind: [] for kind in sorted({query.kind for query in queries} - {""})}
    for query in queries:
        if query.kind:
            kinds[query.kind].append(per_query[query.id])
    return kinds


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _fold(gold: Mapping[str, int], groups: Mapping[str, str] | None) -> dict[str, int]:
    """Return the relevance of groups, of documents that are in none their own."""
    folded: dict[str, int] = {}
    for key, relevance in gold.items():
        name = key if groups is None else groups.get(key, key)
        folded[name] = max(relevance, folded.get(name, 0))
    return folded


def search_documents(
    retriever: Retriever,
    queries: Sequence[str],
    k: int,
    *,
    where: str | None = None,
    groups: Mapping[str, str] | None = None,
) -> list[list[tuple[str, float]]]:
    """Return the keys and scores of the first k documents of each query, or of their groups by the keys of documents.

    A document or a group scores as its best chunk. Chunks are over-fetched until there are so many, or no more chunks,
    or `MOST_HITS`.
    """
    depth = k
    while True:
        hits = retriever.search(queries, depth, where=where)
        exhausted = (hits.ids == MISSING_ID).any(axis=1)
        enough = np.array([len(np.unique(row[row != MISSING_ID])) >= k for row in hits.document_ids()], bool)
        is_last = depth == MOST_HITS
        if is_last or (exhausted | enough).all():
            answers = hits.documents()
            if groups is not None:
                answers = [_first_of_groups(answer, groups) for answer in answers]
            # Documents of one group are one answer.
            enough = np.array([len(answer) >= k for answer in answers], bool)
            if is_last or (exhausted | enough).all():
                return [answer[:k] for answer in answers]
        depth = min(2 * depth, MOST_HITS)


def _first_of_groups(answer: Sequence[tuple[str, float]], groups: Mapping[str, str]) -> list[tuple[str, float]]:
    """Return the groups of documents, which are best first, with the scores of their first ones."""
    best: dict[str, float] = {}
    for key, score in answer:
        best.setdefault(groups.get(key, key), score)
    return list(best.items())
