"""Hits of another index, scored again by what reads a question and a text at once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np
from typing_extensions import override

from mnemodex.indexers.combined_settings import RerankSettings
from mnemodex.indexers.models.cross_encoder import CrossEncoder
from mnemodex.retrievers.base import Retriever
from mnemodex.retrievers.hits import MISSING_ID, MISSING_SCORE, Reason
from mnemodex.retrievers.parts import chunk_retriever
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnemodex.indexers.arrays import Float32s, Int64s
    from mnemodex.retrievers.contiguity import ContiguityRetriever
    from mnemodex.retrievers.hits import Hits
    from mnemodex.retrievers.memory import Memory
    from mnemodex.schemas.manifest import IndexEntry

    Score = Callable[[str, str], float]
    """Says how well a question and a text go together, higher is better."""
    Why = Callable[[int, int, float], Reason]
    """Gives the reason of a hit by its query, its former place and its score."""

AnyHits = TypeVar("AnyHits", bound="Hits")


class PairScorer(Protocol):
    """Scores questions and texts, many at once."""

    def score(self, pairs: Sequence[tuple[str, str]]) -> Sequence[float] | Float32s:
        """Return how well the question and the text of each pair go together, higher is better."""


class RerankRetriever(Retriever):
    """Scores the first hits of another index again, and sorts them by it.

    A text is a chunk's, after its title if it has one. A cross-encoder is loaded at the first search.

    Attributes:
        name: the index's name.
        of: the retriever whose hits are scored again.
    """

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        settings = RerankSettings.model_validate(entry.settings)
        of = chunk_retriever(memory, settings.of)
        self._set(entry.name, of, partial(CrossEncoder, settings.model), settings.depth)

    @classmethod
    def over(cls, retriever: Retriever, scorer: Score | PairScorer, *, depth: int = 50) -> Self:
        """Return the retriever that scores the hits of another one again.

        Args:
            retriever: of chunks, of an opened memory.
            scorer: a function of a question and a text, or an object with `score` for many pairs.
            depth: how many hits of a question are scored, or k where that is more.
        """
        made = cls.__new__(cls)
        made._set(f"{retriever.name}, reranked", retriever, lambda: scorer, depth)
        return made

    def _set(self, name: str, of: Retriever, scorer: Callable[[], Any], depth: int) -> None:
        self.name = name
        self.of = of
        self._open = scorer
        self._depth = depth
        self._scorer: Score | PairScorer | None = None

    @property
    @override
    def near(self) -> ContiguityRetriever | None:
        return self.of.near

    @override
    def find(self, questions: list[str], k: int, where: str | None) -> Hits:
        found = self.of.search(questions, max(k, self._depth), where=where)
        scores = np.full(found.ids.shape, MISSING_SCORE, np.float32)
        scores[found.ids != MISSING_ID] = self._scores(questions, found)
        hits, order = best_first(found, scores, k)
        return replace(hits, explain=partial(moved, found, hits, order, _rescored))

    def _scores(self, questions: Sequence[str], hits: Hits) -> Float32s:
        """Return the score of each hit, float32 of shape (hits,), of one question after the other."""
        pairs = [
            (question, f"{chunk.title}\n{chunk.text}" if chunk.title else chunk.text)
            for question, chunks in zip(questions, hits.chunks(), strict=True)
            for chunk in chunks
        ]
        if self._scorer is None:
            self._scorer = self._open()
        given = self._scorer.score(pairs) if hasattr(self._scorer, "score") else [self._scorer(*pair) for pair in pairs]
        scores = np.asarray(given, np.float32)
        if scores.shape != (len(pairs),):
            raise QueryError(
                f"{self.name}: the scorer gave scores of shape {scores.shape} for {len(pairs)} pairs; give one each"
            )
        wrong = np.flatnonzero(~np.isfinite(scores))
        if len(wrong):
            raise QueryError(
                f"{self.name}: the score of the question {pairs[wrong[0]][0]!r} and a text is {scores[wrong[0]]}; give "
                "numbers"
            )
        return scores


def best_first(hits: AnyHits, scores: Float32s, k: int) -> tuple[AnyHits, Int64s]:
    """Return the first k hits of each query by other scores, equal ones by id, and their former places."""
    order = np.lexsort((hits.ids, -scores))[:, :k]
    first = np.arange(len(hits))[:, None], order
    sorted_hits = replace(
        hits, ids=hits.ids[first], scores=scores[first], partition=hits.partition[first], row=hits.row[first]
    )
    return sorted_hits, order


def moved(found: Hits, hits: Hits, order: Int64s, why: Why) -> list[list[list[Reason]]]:
    """Return for each of some sorted hits why it is where it is, and then why it was where it was in `found`.

    `order` are the former places of the hits, int64 of shape (queries, k).
    """
    former = found.reasons()
    rows = zip(hits.ids.tolist(), hits.scores.tolist(), order.tolist(), strict=True)
    return [
        [
            [why(query, place, score), *former[query][place]]
            for hit, score, place in zip(*row, strict=True)
            if hit != MISSING_ID
        ]
        for query, row in enumerate(rows)
    ]


def _rescored(query: int, place: int, score: float) -> Reason:
    return Reason("rerank", f"score {score:.4f}; was hit {place + 1}", score)
