"""Hybrid search: the hits of other indexes, fused by their ranks or by their scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from mnemodex.indexers.combined_settings import HybridSettings
from mnemodex.indexers.rows import Rows, ShardRows
from mnemodex.retrievers.base import Retriever
from mnemodex.retrievers.fusion import Candidates, share
from mnemodex.retrievers.hits import MISSING_ID, Hits, Reason
from mnemodex.retrievers.parts import chunk_retriever
from mnemodex.retrievers.recency import Recency
from mnemodex.retrievers.top_k import top_k
from mnemodex.schemas.errors import START_OVER, CorruptFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.indexers.arrays import Float32s, Float64s, Int64s
    from mnemodex.retrievers.memory import Memory
    from mnemodex.schemas.manifest import IndexEntry

_PRIORS = {"bm25": 0.6}
"""Factors of a part's support, by its kind: BM25 also gives a high score to a passage that shares one rare word with
the question and does not answer it. Measured, see `docs/memories/hybrid.md`."""


class HybridRetriever(Retriever):
    """Fuses the hits of other indexes; hits are those of any.

    By ranks, a score is the sum over the indexes of weight / (constant + rank). By scores, it is the sum of weight x
    standing, see `Candidates`, and the weights of a question sum to 1.
    """

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        self.name = entry.name
        self._memory = memory
        self._settings = HybridSettings.model_validate(entry.settings)
        self._weights = self._given_weights(entry)
        self._priors = np.array([_PRIORS.get(memory.snapshot.index(name).type, 1.0) for name in self._settings.of])
        self._recency = Recency.of(memory, entry.name, self._settings.recency)
        self.parts = [chunk_retriever(memory, name) for name in self._settings.of]

    def _given_weights(self, entry: IndexEntry) -> Float64s | None:
        """Return the weights of the parts, float64 of shape (parts,); None where each question has its own."""
        given = self._settings.weights
        if given == "auto":
            if self._settings.queries is None:
                return None
            if entry.fitted is None or len(entry.fitted.weights) != len(self._settings.of):
                raise CorruptFileError(
                    f"index {entry.name!r}: the manifest does not hold its fitted weights; {START_OVER}"
                )
            given = entry.fitted.weights
        return np.ones(len(self._settings.of)) if given is None else np.array(given, np.float64)

    def candidates(self, questions: Sequence[str], k: int, where: str | None) -> tuple[Candidates, list[Hits]]:
        """Return what all parts find, and their answers."""
        depth = max(k, self._settings.depth)
        answers = [part.search(questions, depth, where=where) for part in self.parts]
        return Candidates.of(answers, self._settings.depth), answers

    @override
    def find(self, questions: list[str], k: int, where: str | None) -> Hits:
        if self._recency is not None:
            return self._recency.weigh(self._fused(questions, max(k, self._settings.depth), where), k)
        return self._fused(questions, k, where)

    def _fused(self, questions: list[str], k: int, where: str | None) -> Hits:
        candidates, answers = self.candidates(questions, k, where)
        shares = self._shares(candidates)
        fused = shares.sum(axis=0).astype(np.float32)

        def best() -> Iterator[tuple[Int64s, Float32s]]:
            for part in candidates.slices():
                chosen = top_k(fused[part], k, ids=candidates.ids[part])
                yield candidates.place[part][chosen], fused[part][chosen]

        def explain(numbers: Int64s) -> list[list[list[Reason]]]:
            weights = self._weights_of(candidates)
            hits = [np.searchsorted(candidates.place, row[row >= 0], sorter=by_place) for row in numbers]
            return [[self._reasons(candidates, answers, shares, weights, by_place[hit]) for hit in row] for row in hits]

        by_place = np.argsort(candidates.place)
        return Hits.at(self._memory.snapshot, ShardRows([_rows(answers)]), best(), k, explain=explain)

    def _shares(self, candidates: Candidates) -> Float64s:
        """Return the parts of each candidate's score, float64 of shape (parts, candidates)."""
        by_scores = self._settings.fuse == "scores"
        of_parts = candidates.standing if by_scores else candidates.by_rank(self._settings.constant)
        shares: Float64s = of_parts * self._weights_of(candidates)[:, candidates.query]
        return shares

    def _weights_of(self, candidates: Candidates) -> Float64s:
        """Return the weights of the parts, float64 of shape (parts, queries)."""
        if self._weights is None:
            return share(candidates.support() * self._priors[:, None])
        weights = np.repeat(self._weights[:, None], candidates.queries, axis=1)
        return share(weights) if self._settings.fuse == "scores" else weights

    def _reasons(
        self, candidates: Candidates, answers: list[Hits], shares: Float64s, weights: Float64s, hit: int
    ) -> list[Reason]:
        """Return the rank and the score of a hit in each part, and what they add."""
        reasons, query = [], candidates.query[hit]
        for part, (name, hits) in enumerate(zip(self._settings.of, answers, strict=True)):
            rank = int(candidates.rank[part, hit])
            if rank < 0:
                # The last place is empty where all hits of the part are there.
                first = f"first {hits.ids.shape[1]:,} " if hits.ids[query, -1] != MISSING_ID else ""
                reasons.append(Reason("index", f"{name}: not among its {first}hits", 0.0))
                continue
            text = f"{name}: rank {rank + 1}, score {hits.scores[query, rank]:.4f}"
            if self._settings.fuse == "scores":
                text += f", {candidates.standing[part, hit]:.2f} deviations above the others"
            if self._settings.fuse == "scores" or self._settings.weights is not None:
                text += f", weight {weights[part, query]:.2f}"
            reasons.append(Reason("index", text, float(shares[part, hit])))
        return sorted(reasons, key=lambda reason: -reason.score)


def _rows(answers: Sequence[Hits]) -> Rows:
    """Return the rows of all hits, the answers side by side; they number their partitions differently."""
    labels = tuple(dict.fromkeys(label for hits in answers for label in hits.labels))
    number_of = {label: number for number, label in enumerate(labels)}
    tables = [np.array([number_of[label] for label in hits.labels] or [0], np.int32) for hits in answers]
    partition = np.hstack([table[hits.partition] for table, hits in zip(tables, answers, strict=True)])
    ids, row = (np.hstack([getattr(hits, name) for hits in answers]) for name in ("ids", "row"))
    return Rows(ids.ravel(), partition.ravel(), row.ravel(), labels)
