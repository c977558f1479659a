"""Pairs that were found are scored again, with a look at their answers (RePAQ; Lewis et al., 2021)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from typing_extensions import override

from mnemodex.indexers.models.cross_encoder import CrossEncoder
from mnemodex.indexers.qa import normalize_question
from mnemodex.retrievers.hits import MISSING_ID, MISSING_SCORE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnemodex.indexers.arrays import Float32s, Int64s
    from mnemodex.indexers.encoders import TextEncoder
    from mnemodex.retrievers.qa.hits import PairHits
    from mnemodex.schemas.reranking import PairReranking

_ANSWERS = 5
"""Answers of a pair that are read."""


class Reranker(Protocol):
    """Scores pairs with a look at their answers."""

    def score(self, found: Found) -> Float32s:
        """Return a score for each hit, float32 of shape (hits,)."""


@dataclass(frozen=True, slots=True)
class Found:
    """Hits of queries, each pair as a text: its question in normal form, a question mark, and its first answers.

    Attributes:
        queries: in normal form.
        vectors: of the queries, float32 of shape (queries, dimension).
        texts: of the different pairs.
        query: of each hit, int64 of shape (hits,).
        text: of each hit.
        scores: of the hits, float32 of shape (hits,).
    """

    queries: Sequence[str]
    vectors: Float32s
    texts: list[str]
    query: Int64s
    text: Int64s
    scores: Float32s


@dataclass(frozen=True)
class Similarity(Reranker):
    """The mean of a pair's score and of the similarity of the query to question and answers together."""

    encoder: Callable[[], TextEncoder]

    @override
    def score(self, found: Found) -> Float32s:
        texts = self.encoder().encode_queries(found.texts)
        joint = np.einsum("ij,ij->i", found.vectors[found.query], texts[found.text])
        scores: Float32s = (found.scores + joint) / np.float32(2)
        return scores


@dataclass(frozen=True)
class ByCrossEncoder(Reranker):
    """The score of a model that reads the query and the pair at once."""

    name: str

    @cached_property
    def _model(self) -> CrossEncoder:
        return CrossEncoder(self.name)

    @override
    def score(self, found: Found) -> Float32s:
        hits = zip(found.query.tolist(), found.text.tolist(), strict=True)
        return self._model.score([(f"{found.queries[query]}?", found.texts[text]) for query, text in hits])


def open_reranker(settings: PairReranking, encoder: Callable[[], TextEncoder]) -> Reranker:
    """Return what scores pairs again; its model is loaded at the first call."""
    return Similarity(encoder) if settings.model is None else ByCrossEncoder(settings.model)


def rerank(hits: PairHits, reranker: Reranker, queries: Sequence[str], vectors: Float32s, k: int) -> PairHits:
    """Return the first k of some hits by the scores that a reranker gives them; equal scores by id."""
    is_hit = hits.ids != MISSING_ID
    ids, text = np.unique(hits.ids[is_hit], return_inverse=True)
    table = hits.read(ids)
    rows = zip(table["question"].to_pylist(), table["answers"].to_pylist(), strict=True)
    texts = [f"{normalize_question(question)}? {', '.join(answers[:_ANSWERS])}" for question, answers in rows]
    scores = np.full(hits.ids.shape, MISSING_SCORE, np.float32)
    found = Found(queries, vectors, texts, np.nonzero(is_hit)[0], text, hits.scores[is_hit])
    scores[is_hit] = reranker.score(found)
    best = np.lexsort((hits.ids, -scores))[:, :k]
    first = np.arange(len(hits))[:, None], best
    return replace(
        hits, ids=hits.ids[first], scores=scores[first], partition=hits.partition[first], row=hits.row[first]
    )
