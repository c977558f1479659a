"""Passages by their questions: a chunk is as near to a query as the nearest of the questions that it answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Self, TypeAlias

import numpy as np
from typing_extensions import override

from mnemodex.indexers.arrays import begins
from mnemodex.retrievers.base import Retriever
from mnemodex.retrievers.hits import MISSING_ID, MISSING_SCORE, Hits, Reason

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Bools, Float32s, Int32s, Int64s
    from mnemodex.retrievers.qa.retriever import QARetriever
    from mnemodex.retrievers.qa.tables import PairTables
    from mnemodex.retrievers.snapshot import Snapshot

_FIRST, _WIDER = 2, 4
"""Questions that are searched at first for every chunk that is asked for, and how many times as many after that."""


Search: TypeAlias = Callable[["Int64s", int, "Int64s | None"], tuple["Float32s", "Int64s"]]
"""Returns scores and ids of the questions nearest to some queries, by number, of shape (queries, k), best first; among
all questions, or those of ascending ids."""


class ChunkRetriever(Retriever):
    """Searches an index of pairs for chunks, as other retrievers do: what `hybrid` fuses and `evaluate` measures."""

    def __init__(self, retriever: QARetriever) -> None:
        self.name = retriever.name
        self._retriever = retriever

    @override
    def find(self, questions: list[str], k: int, where: str | None) -> Hits:
        return self._retriever.find_chunks(questions, k, where)


class _Nearest(NamedTuple):
    """The k nearest chunks of each query, arrays of shape (queries, k), and the question that each was found by."""

    ids: Int64s
    scores: Float32s
    partition: Int32s
    question: Int64s

    @classmethod
    def none(cls, queries: int, k: int) -> Self:
        """Return room for so many, without any."""
        ids, question = np.full((2, queries, k), MISSING_ID, np.int64)
        partition = np.full((queries, k), MISSING_ID, np.int32)
        return cls(ids, np.full((queries, k), MISSING_SCORE, np.float32), partition, question)

    def put(self, queries: Int64s, others: _Nearest) -> None:
        """Replace those of some queries."""
        self.ids[queries], self.scores[queries] = others.ids, others.scores
        self.partition[queries], self.question[queries] = others.partition, others.question


def chunk_hits(
    search: Search,
    questions: int,
    pairs: PairTables,
    snapshot: Snapshot,
    asked: Bools,
    k: int,
    chunk_ids: Int64s | None,
) -> Hits:
    """Return the chunks of the questions nearest to each query, each once, with the score of its nearest question.

    Args:
        search: of questions.
        questions: how many there are.
        pairs: of the same snapshot.
        snapshot: where hits are read from.
        asked: which queries have hits, bool of shape (queries,).
        k: chunks of a query; there are fewer only where fewer have a question.
        chunk_ids: the chunks that are looked for, ascending; all by default.
    """
    nearest = _Nearest.none(len(asked), k)
    queries, depth = np.flatnonzero(asked), min(_FIRST * k, questions)
    allowed = None if chunk_ids is None else pairs.questions_of(chunk_ids)
    while len(queries):
        scores, ids = search(queries, depth, allowed)
        nearest.put(queries, _rank(scores, ids, k, pairs, chunk_ids))
        # A question that was not found yet is no nearer than the last one that was.
        undecided = (ids[:, -1] != MISSING_ID) & (nearest.scores[queries, -1] <= scores[:, -1])
        queries = queries[undecided & (depth < questions)]
        if chunk_ids is None and len(queries):
            # Most of the nearest pairs may have no chunk.
            some = pairs.questions_of(None)
            allowed = some if len(some) < questions else None
        depth = min(_WIDER * depth, questions)
    return Hits(
        nearest.ids,
        nearest.scores,
        nearest.partition,
        pairs.rows_of(nearest.partition, nearest.ids),
        pairs.labels,
        snapshot,
        explain=partial(_explain, nearest, pairs),
    )


def _rank(scores: Float32s, ids: Int64s, k: int, pairs: PairTables, chunk_ids: Int64s | None) -> _Nearest:
    """Return the chunks of questions with these scores and ids, of shape (queries, questions), nearest first."""
    query, rank = np.nonzero(ids != MISSING_ID)
    unique, number = np.unique(ids[query, rank], return_inverse=True)
    owner, partition, _, chunk = pairs.pairs_of(unique, chunk_ids)
    first = np.searchsorted(owner, np.arange(len(unique) + 1))
    # A row for every pair of every question that was found.
    counts = np.diff(first)[number]
    pair = np.repeat(first[number] + counts - np.cumsum(counts), counts) + np.arange(counts.sum())
    query, rank = np.repeat(query, counts), np.repeat(rank, counts)
    score = scores[query, rank]
    by_chunk = np.lexsort((rank, chunk[pair], query))
    once = by_chunk[begins(query[by_chunk], chunk[pair][by_chunk])]
    best = once[np.lexsort((chunk[pair][once], -score[once], query[once]))]
    column = np.arange(len(best)) - np.searchsorted(query[best], query[best])
    best, column = best[column < k], column[column < k]
    nearest = _Nearest.none(len(ids), k)
    place = query[best], column
    nearest.ids[place], nearest.partition[place] = chunk[pair][best], partition[pair][best]
    nearest.scores[place], nearest.question[place] = score[best], ids[query, rank][best]
    return nearest


def _explain(nearest: _Nearest, pairs: PairTables) -> list[list[list[Reason]]]:
    """Return the question that each chunk was found by."""
    is_hit = nearest.ids != MISSING_ID
    unique, number = np.unique(nearest.question[is_hit], return_inverse=True)
    questions = pairs.read(unique, None)["question"].to_pylist()
    reasons: list[list[list[Reason]]] = [[] for _ in range(len(nearest.ids))]
    columns = (np.nonzero(is_hit)[0], number, nearest.scores[is_hit])
    for query, place, score in zip(*(column.tolist() for column in columns), strict=True):
        reasons[query].append([Reason("question", questions[place], score)])
    return reasons
