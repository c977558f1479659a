"""Hybrid search by reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mnemodex.indexers.hybrid import HybridSettings
from mnemodex.retrievers.base import check
from mnemodex.retrievers.hits import MISSING_ID, MISSING_SCORE, Hits
from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.memory import Memory
    from mnemodex.schemas.manifest import IndexEntry


class HybridRetriever:
    """Fuses the ranks of other indexes: score = sum over indexes of 1 / (constant + rank)."""

    no_match: ClassVar[float | None] = 0.0

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        self.name = entry.name
        self._memory = memory
        self._settings = HybridSettings.model_validate(entry.settings)
        self._parts = [memory.retriever(name) for name in self._settings.of]

    def search(self, queries: Sequence[str], k: int = 10, *, where: str | None = None) -> Hits:
        """See `Retriever.search`. All indexes together always give k hits where there are so many rows."""
        questions = check(queries, k)
        answers = [part.search(questions, max(k, self._settings.depth), where=where) for part in self._parts]
        labels, answers = _common_labels(answers)
        shape = (len(questions), k)
        ids = np.full(shape, MISSING_ID, np.int64)
        scores = np.full(shape, MISSING_SCORE, np.float32)
        partition = np.full(shape, -1, np.int32)
        row = np.full(shape, -1, np.int64)
        rank = 1 / (self._settings.constant + 1 + np.arange(answers[0].ids.shape[1]))
        for number in range(len(questions)):
            found = [answer.ids[number] != MISSING_ID for answer in answers]
            all_ids = np.concatenate([answer.ids[number][here] for answer, here in zip(answers, found, strict=True)])
            # A hit that has nothing of the question fills a place, but its rank says nothing.
            weight = np.concatenate(
                [
                    np.where(answer.scores[number] == part.no_match, 0, rank)[here]
                    for part, answer, here in zip(self._parts, answers, found, strict=True)
                ]
            )
            unique, first, place = np.unique(all_ids, return_index=True, return_inverse=True)
            fused = np.bincount(place, weight, len(unique)).astype(np.float32)
            chosen = top_k(fused, k, ids=unique)
            here = slice(0, len(chosen))
            ids[number, here], scores[number, here] = unique[chosen], fused[chosen]
            partition[number, here] = np.concatenate(
                [a.partition[number][f] for a, f in zip(answers, found, strict=True)]
            )[first[chosen]]
            row[number, here] = np.concatenate([a.row[number][f] for a, f in zip(answers, found, strict=True)])[
                first[chosen]
            ]
        return Hits(ids, scores, partition, row, labels, self._memory.snapshot)


def _common_labels(answers: list[Hits]) -> tuple[tuple[str, ...], list[Hits]]:
    """Number the partitions of all answers alike."""
    labels = tuple(dict.fromkeys(label for answer in answers for label in answer.labels))
    number = {label: place for place, label in enumerate(labels)}
    renumbered = []
    for answer in answers:
        table = np.array([number[label] for label in answer.labels] or [0], np.int32)
        renumbered.append(
            Hits(answer.ids, answer.scores, table[answer.partition], answer.row, labels, answer.snapshot, answer.kind)
        )
    return labels, renumbered
