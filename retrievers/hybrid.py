"""Hybrid search by reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from typing_extensions import override

from mnemodex.indexers.rows import Rows, ShardRows
from mnemodex.indexers.settings import HybridSettings
from mnemodex.retrievers.base import Retriever, check
from mnemodex.retrievers.hits import MISSING_ID, Hits, Reason
from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.indexers.arrays import Float32s, Int64s
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.qa.retriever import QARetriever
    from mnemodex.schemas.manifest import IndexEntry


def _chunk_retriever(memory: Memory, name: str) -> Retriever:
    """Return the retriever of an index, which answers with chunks."""
    retriever = memory.retriever(name)
    return cast("QARetriever", retriever).by_chunk() if memory.kind(name).hits == "pair" else retriever


class HybridRetriever(Retriever):
    """Fuses the ranks of other indexes: score = sum over indexes of 1 / (constant + rank); hits are those of any."""

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        self.name = entry.name
        self._memory = memory
        self._settings = HybridSettings.model_validate(entry.settings)
        self.parts = [_chunk_retriever(memory, name) for name in self._settings.of]

    @override
    def search(self, queries: Sequence[str], k: int = 10, *, where: str | None = None) -> Hits:
        questions = check(queries, k)
        depth = max(k, self._settings.depth)
        answers = [part.search(questions, depth, where=where) for part in self.parts]
        weights = np.tile(1 / (self._settings.constant + 1 + np.arange(depth)), len(answers))
        ids, row = (np.hstack([getattr(hits, name) for hits in answers]) for name in ("ids", "row"))
        # The answers number their partitions differently.
        number_of = {
            label: number for number, label in enumerate(dict.fromkeys(x for hits in answers for x in hits.labels))
        }
        tables = [np.array([number_of[label] for label in hits.labels] or [0], np.int32) for hits in answers]
        partition = np.hstack([table[hits.partition] for table, hits in zip(tables, answers, strict=True)])

        def best() -> Iterator[tuple[Int64s, Float32s]]:
            for query, query_ids in enumerate(ids):
                columns = np.flatnonzero(query_ids != MISSING_ID)
                unique, first, group = np.unique(query_ids[columns], return_index=True, return_inverse=True)
                fused = np.bincount(group, weights[columns], len(unique)).astype(np.float32)
                chosen = top_k(fused, k, ids=unique)
                yield query * ids.shape[1] + columns[first[chosen]], fused[chosen]

        def explain(numbers: Int64s) -> list[list[list[Reason]]]:
            return [
                [self._reasons(answers, query, hit) for hit in ids.ravel()[places[places >= 0]].tolist()]
                for query, places in enumerate(numbers)
            ]

        rows = Rows(ids.ravel(), partition.ravel(), row.ravel(), tuple(number_of))
        return Hits.at(self._memory.snapshot, ShardRows([rows]), best(), k, explain=explain)

    def _reasons(self, answers: list[Hits], query: int, hit: int) -> list[Reason]:
        """Return the rank and the score of a hit in each part, and what its rank adds."""
        reasons = []
        for name, hits in zip(self._settings.of, answers, strict=True):
            ranks = np.flatnonzero(hits.ids[query] == hit).tolist()
            if ranks:
                text = f"{name}: rank {ranks[0] + 1}, score {hits.scores[query, ranks[0]]:.4f}"
                reasons.append(Reason("index", text, 1 / (self._settings.constant + 1 + ranks[0])))
            else:
                # The last place is empty where all hits of the part are there.
                first = f"first {hits.ids.shape[1]:,} " if hits.ids[query, -1] != MISSING_ID else ""
                reasons.append(Reason("index", f"{name}: not among its {first}hits", 0.0))
        return sorted(reasons, key=lambda reason: -reason.score)
