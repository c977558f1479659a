"""Pairs that were found: questions with their answers, best first, and the chunks that these are from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from typing_extensions import override

from mnemodex.indexers.graph.names import sentences
from mnemodex.indexers.qa import normalize_question
from mnemodex.retrievers.hits import MISSING_ID, Chunk, Hits, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.retrievers.qa.rounds import Chain, Chains


_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")


@dataclass(frozen=True, slots=True)
class Pair:
    """One hit: a question of the memory with its answers, best first, and the chunk that they are from, if any."""

    rank: int
    score: float
    question_id: int
    question: str
    answers: tuple[str, ...]
    chunk: Chunk | None = None

    @property
    def sentence(self) -> str:
        """Of the chunk's sentences that hold an answer, the one with most words of the question; empty without one."""
        folded = [answer.casefold() for answer in self.answers]
        # Answers are written with single spaces, the lines of a paragraph may break them.
        paragraphs = _BLANK_LINE.split(self.chunk.text) if self.chunk is not None else []
        found = [text for paragraph in paragraphs for text in sentences(" ".join(paragraph.split()))]
        holding = [text for text in found if any(answer in text.casefold() for answer in folded)]
        words = set(normalize_question(self.question).split())
        return max(holding, key=lambda text: len(words.intersection(text.casefold().split())), default="")

    def to_json(self) -> dict[str, Any]:
        """Return what `search --json` prints; ids are strings, since they do not fit a JavaScript number."""
        source = dict.fromkeys(("chunk_id", "key", "title", "text", "metadata"))
        if self.chunk is not None:
            source = {name: value for name, value in self.chunk.to_json().items() if name in source}
        return {
            "rank": self.rank,
            "score": self.score,
            "question_id": str(self.question_id),
            "question": self.question,
            "answers": list(self.answers),
            **source,
        }


@dataclass(frozen=True, repr=False)
class PairHits(Hits):
    """Hits whose ids are those of questions; of `chunks()`, `documents()` and the like those without a chunk are not.

    Attributes:
        read: returns the columns `question` and `answers` of questions, given their ids, int64 of shape (n,).
        chains: of each query, if there were several rounds.
    """

    read: Callable[[Int64s], pa.Table] = field(kw_only=True)
    chains: Sequence[Chains] = field(kw_only=True, default=())

    def pairs(self, *, with_chunks: bool = True) -> list[list[Pair]]:
        """Return the pairs of each query, best first; without their chunks, none of these is read."""
        read = self.chunks() if with_chunks else []
        chunks = {(query, chunk.rank): chunk for query, found in enumerate(read) for chunk in found}
        return [
            [
                Pair(rank, score, question_id, question, answers, chunks.get((query, rank)))
                for rank, (question_id, score, question, answers) in enumerate(row, start=1)
            ]
            for query, row in enumerate(self._rows_of_queries())
        ]

    def answers(self) -> list[list[tuple[str, ...]]]:
        """Return the answers of each pair of each query, best first, without reading any chunk."""
        return [[answers for *_, answers in row] for row in self._rows_of_queries()]

    @override
    def reasons(self) -> list[list[list[Reason]]]:
        if self.explain is not None:
            return self.explain()
        chains = self.chains or [{}] * len(self)
        return [
            [_evidence(found.get(question_id), question, score) for question_id, score, question, _ in row]
            for found, row in zip(chains, self._rows_of_queries(), strict=True)
        ]

    @override
    def _of(self, queries: slice, ranks: slice = slice(None)) -> Self:
        return replace(super()._of(queries, ranks), chains=self.chains[queries])

    def _rows_of_queries(self) -> list[list[tuple[int, float, str, tuple[str, ...]]]]:
        is_hit = self.ids != MISSING_ID
        ids, place = np.unique(self.ids[is_hit], return_inverse=True)
        table = self.read(ids)
        questions, answers = table["question"].to_pylist(), list(map(tuple, table["answers"].to_pylist()))
        rows: list[list[tuple[int, float, str, tuple[str, ...]]]] = [[] for _ in range(len(self))]
        columns = (np.nonzero(is_hit)[0], place, self.ids[is_hit], self.scores[is_hit])
        for query, number, question_id, score in zip(*(column.tolist() for column in columns), strict=True):
            rows[query].append((question_id, score, questions[number], answers[number]))
        return rows


def _evidence(chain: Chain | None, question: str, score: float) -> list[Reason]:
    """Return the evidence for a pair: its question, or the chain that gave it its score."""
    by_chain = chain is not None and np.float32(chain.score) == np.float32(score)
    return chain.reasons(question) if chain is not None and by_chain else [Reason("question", question, score)]
