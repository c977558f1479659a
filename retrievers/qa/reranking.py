"""Pairs that were found are scored again, with a look at their answers (RePAQ; Lewis et al., 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from typing_extensions import override

from mnemodex.indexers.models.cross_encoder import CrossEncoder
from mnemodex.indexers.qa import normalize_question, with_answers
from mnemodex.retrievers.hits import MISSING_ID, MISSING_SCORE
from mnemodex.retrievers.reranking import best_first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Float32s
    from mnemodex.retrievers.qa.answer_vectors import AnswerVectors
    from mnemodex.retrievers.qa.hits import PairHits
    from mnemodex.schemas.reranking import PairReranking


class Reranker(Protocol):
    """Scores pairs with a look at their answers."""

    def score(self, hits: PairHits, queries: Sequence[str], vectors: Float32s) -> Float32s:
        """Return a score for each hit, float32 of shape (hits,), of one query after the other.

        Args:
            hits: which there are, and which are missing; of these no score is given.
            queries: in normal form.
            vectors: of the queries, float32 of shape (queries, dimension).
        """


@dataclass(frozen=True)
class Similarity(Reranker):
    """The mean of a pair's score and of the similarity of the query to question and answers together."""

    answers: AnswerVectors

    @override
    def score(self, hits: PairHits, queries: Sequence[str], vectors: Float32s) -> Float32s:
        # Of a question of which `where` keeps some pairs only, the vector is of the answers of all.
        is_hit = hits.ids != MISSING_ID
        joint = self.answers.similarity(hits.ids[is_hit], np.nonzero(is_hit)[0], vectors)
        scores: Float32s = (hits.scores[is_hit] + joint) / np.float32(2)
        return scores


@dataclass(frozen=True)
class ByCrossEncoder(Reranker):
    """The score of a model that reads the query and the pair at once: its question, and its first answers."""

    name: str

    @cached_property
    def _model(self) -> CrossEncoder:
        return CrossEncoder(self.name)

    @override
    def score(self, hits: PairHits, queries: Sequence[str], vectors: Float32s) -> Float32s:
        is_hit = hits.ids != MISSING_ID
        ids, text = np.unique(hits.ids[is_hit], return_inverse=True)
        table = hits.read(ids)
        rows = zip(table["question"].to_pylist(), table["answers"].to_pylist(), strict=True)
        texts = [with_answers(normalize_question(question), answers) for question, answers in rows]
        found = zip(np.nonzero(is_hit)[0].tolist(), text.tolist(), strict=True)
        return self._model.score([(f"{queries[query]}?", texts[number]) for query, number in found])


def open_reranker(settings: PairReranking, answers: AnswerVectors) -> Reranker:
    """Return what scores pairs again; its model is loaded at the first call."""
    return Similarity(answers) if settings.model is None else ByCrossEncoder(settings.model)


def rescore(hits: PairHits, reranker: Reranker, queries: Sequence[str], vectors: Float32s) -> Float32s:
    """Return the scores that a reranker gives hits, of the shape of theirs, -inf where there is none."""
    scores = np.full(hits.ids.shape, MISSING_SCORE, np.float32)
    scores[hits.ids != MISSING_ID] = reranker.score(hits, queries, vectors)
    return scores


def rerank(hits: PairHits, reranker: Reranker, queries: Sequence[str], vectors: Float32s, k: int) -> PairHits:
    """Return the first k of some hits by the scores that a reranker gives them; equal scores by id."""
    return best_first(hits, rescore(hits, reranker, queries, vectors), k)[0]
