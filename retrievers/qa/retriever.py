"""Question-answer search: the pairs of a memory whose questions are nearest, with their answers and their passages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from typing_extensions import override

from mnemodex.indexers.pair_settings import QASettings
from mnemodex.indexers.qa import normalize_question
from mnemodex.retrievers.base import Retriever, arrange, check, is_blank
from mnemodex.retrievers.qa.abstention import decline
from mnemodex.retrievers.qa.answer_vectors import AnswerVectors
from mnemodex.retrievers.qa.chunks import ChunkRetriever, chunk_hits
from mnemodex.retrievers.qa.fallback import back_off
from mnemodex.retrievers.qa.hits import PairHits
from mnemodex.retrievers.qa.predictions import VOTERS, choose, vote
from mnemodex.retrievers.qa.reranking import Similarity, open_reranker, rerank, rescore
from mnemodex.retrievers.qa.rounds import Rounds, merge
from mnemodex.retrievers.qa.searcher import QuestionSearcher
from mnemodex.retrievers.qa.tables import PairTables
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.tables import TableKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from mnemodex.indexers.arrays import Bools, Float32s, Int64s
    from mnemodex.retrievers.base import Arranged, Narrowing
    from mnemodex.retrievers.grouping import Group, GroupBy
    from mnemodex.retrievers.hits import Hits
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.qa.chunks import Search
    from mnemodex.retrievers.qa.predictions import Prediction
    from mnemodex.retrievers.qa.rounds import Chains
    from mnemodex.retrievers.readers.passage_reader import PassageReader
    from mnemodex.retrievers.spans import Span
    from mnemodex.schemas.manifest import IndexEntry


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions as an index of pairs searches for them: encoded once, whatever is asked of them.

    Attributes:
        questions: in normal form.
        vectors: of these, float32 of shape (questions, dimension).
        chunk_ids: of the chunks that a filter keeps, int64, ascending; None without a filter.
        chains: what the rounds after the first one found for each; nothing where there is one round.
    """

    questions: list[str]
    vectors: Float32s
    chunk_ids: Int64s | None
    chains: Sequence[Chains]


class QARetriever(Retriever):
    """Searches the questions of pairs (RePAQ; Lewis et al., 2021).

    Raises `ModelError` if the model is not the one that the index was built with.

    Attributes:
        fallback: the index whose passages are given where the pairs do not know the answer; None without one.
    """

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        self.name = entry.name
        self._memory = memory
        self._settings = QASettings.model_validate(entry.settings)
        self.fallback = self._settings.fallback
        self._embedding = str(self._settings.embed)
        self._searcher = QuestionSearcher(memory.snapshot, entry)
        self._abstention = entry.abstention
        reranking = self._settings.rerank
        table = TableKey("embeddings", self._embedding, "question_answers")
        answers = AnswerVectors(memory.snapshot, table, self._searcher.dense)
        self._reranker = None if reranking is None else open_reranker(reranking, answers)
        self._weigher = Similarity(answers) if self._settings.compares_answers and reranking is None else None
        self._pairs = PairTables(memory.snapshot)

    @overload
    def search(
        self, queries: Sequence[str], k: int = ..., *, kind: Literal["pair"] = ..., **narrowing: Unpack[Narrowing]
    ) -> PairHits: ...

    @overload
    def search(
        self, queries: Sequence[str], k: int = ..., *, kind: Literal["pair", "chunk"], **narrowing: Unpack[Narrowing]
    ) -> Hits: ...

    @overload
    def search(
        self,
        queries: Sequence[str],
        k: int = ...,
        *,
        group_by: str | GroupBy,
        kind: Literal["pair", "chunk"] = ...,
        **narrowing: Unpack[Narrowing],
    ) -> list[list[Group]]: ...

    @overload
    def search(
        self,
        queries: Sequence[str],
        k: int = ...,
        *,
        expand: int | tuple[int, int],
        kind: Literal["pair", "chunk"] = ...,
        **narrowing: Unpack[Narrowing],
    ) -> list[list[Span]]: ...

    @override
    def search(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        where: str | None = None,
        newest: bool = False,
        group_by: str | GroupBy | None = None,
        expand: int | tuple[int, int] | None = None,
        kind: str = "pair",
    ) -> Arranged:
        """Return the questions nearest to each query, or the chunks that these are of.

        Of `kind="pair"`, `Hits.ids` are those of questions; a hit's chunk is that of its first pair that has one. Of
        `kind="chunk"` they are those of chunks, each once, by its nearest question, which alone are grouped and
        expanded. With `where`, only pairs whose chunks it keeps are found, and only their answers given. A query of
        nothing but question marks has no hits. With the setting `rerank` the first pairs have the scores and the order
        that it gives them; chunks have not.

        Raises:
            ModelError: the model that scores pairs again is not there, or is none.
            QueryError: the kind is neither; or see `Retriever.search`.
        """
        if kind not in {"pair", "chunk"}:
            raise QueryError(f"index {self.name!r}: hits of kind {kind!r} are not known. Give kind='pair' or 'chunk'")
        retriever = self if kind == "pair" else self.by_chunk()
        return arrange(retriever, check(queries, k), k, where, newest, group_by, expand)

    @override
    def find(self, questions: list[str], k: int, where: str | None) -> PairHits:
        return self.pairs(self.ask(questions, where=where), k)

    def find_chunks(self, queries: list[str], k: int, where: str | None) -> Hits:
        """Return the chunks of the questions nearest to each query."""
        asked = self.ask(queries, where=where)
        questions, rows = _not_blank(asked.questions), len(self._searcher.dense.rows)
        search, snapshot = self._ranking(asked), self._memory.snapshot
        return chunk_hits(search, rows, self._pairs, snapshot, questions, k, asked.chunk_ids)

    def ask(self, queries: Sequence[str], *, where: str | None = None) -> Asked:
        """Return queries as `pairs` and `choose` take them: encoded, and asked again in rounds where there are several.

        Raises:
            QueryError: see `Retriever.search`.
        """
        questions = [normalize_question(question) for question in check(queries, 1)]
        chunk_ids = None if where is None else self._memory.ids_where(where)
        vectors = self._encode(questions)
        return Asked(questions, vectors, chunk_ids, self._chains(questions, vectors, chunk_ids))

    def pairs(self, asked: Asked, k: int) -> PairHits:
        """Return the k nearest pairs of each question; see `search`."""
        questions, vectors, chunk_ids, chains = asked.questions, asked.vectors, asked.chunk_ids, asked.chains
        allowed = None if chunk_ids is None else self._pairs.questions_of(chunk_ids)
        reranking = self._settings.rerank
        depth = k if reranking is None else max(k, reranking.depth)
        scores, ids = self._ranking(asked)(np.arange(len(questions)), depth, allowed)
        partition, row = self._pairs.chunks_of(ids, chunk_ids)
        hits = PairHits(
            ids,
            scores,
            partition,
            row,
            self._pairs.labels,
            self._memory.snapshot,
            kind="pair",
            read=lambda found: self._pairs.read(found, chunk_ids),
            chains=chains,
        )
        hits = hits.without(~_not_blank(questions))
        return hits if self._reranker is None else rerank(hits, self._reranker, questions, vectors, k)

    def _ranking(self, asked: Asked) -> Search:
        """Return what finds the best questions of some queries, by their numbers, with those that end a chain."""
        chains = asked.chains

        def search(queries: Int64s, depth: int, allowed: Int64s | None) -> tuple[Float32s, Int64s]:
            scores, ids = self._searcher.search(asked.vectors[queries], depth, allowed=allowed)
            return merge(scores, ids, [chains[query] for query in queries]) if chains else (scores, ids)

        return search

    def _encode(self, texts: list[str]) -> Float32s:
        return self._memory.encoder(self._embedding).encode_queries(texts)

    def _chains(self, questions: list[str], vectors: Float32s, chunk_ids: Int64s | None) -> list[Chains]:
        """Return what the rounds after the first one found for each question; nothing where there is one round."""
        if self._settings.rounds == 1:
            return []
        allowed = None if chunk_ids is None else self._pairs.questions_of(chunk_ids)
        rounds = Rounds(
            lambda vectors, k: self._searcher.search(vectors, k, allowed=allowed),
            lambda ids: self._pairs.read(ids, chunk_ids),
            self._encode,
            self._settings.key,
        )
        return rounds.chains(questions, vectors, self._settings.rounds)

    def by_chunk(self) -> Retriever:
        """Return a retriever of chunks: `search` of `kind="chunk"` without the kind."""
        return ChunkRetriever(self)

    def predict(self, queries: Sequence[str], *, where: str | None = None) -> list[str | None]:
        """Return one answer to each query: that of `predictions`; None where there is none."""
        return [prediction.answer for prediction in self.predictions(queries, where=where)]

    def predictions(
        self, queries: Sequence[str], *, where: str | None = None, k: int = 10, reader: PassageReader | None = None
    ) -> list[Prediction]:
        """Return one answer to each query, and how sure it is.

        By its setting `answer`, the index takes the answer of most votes of the nearest pairs, see `vote`, which weigh
        by the mean of their scores and of the similarity to their questions and answers together, and where there are
        several rounds by the scores alone; or the first answer of the nearest pair, with its score. An index that
        abstains gives no answer where it is not as sure as its threshold. One with a fallback then gives the first k
        passages of that index, and with a reader the answer that it reads in them.

        Raises:
            QueryError: there is a reader, but no fallback; or see `Retriever.search`.
        """
        if reader is not None and self.fallback is None:
            raise QueryError(
                f"index {self.name!r}: there are no passages to read. Add `fallback: INDEX` to it in the recipe, or "
                "give no reader"
            )
        questions = check(queries, k)
        predictions = self.choose(self.ask(questions, where=where))
        if self.fallback is None:
            return predictions
        retriever = self._memory.retriever(self.fallback)
        return back_off(predictions, questions, retriever, k, where=where, reader=reader)

    def choose(self, asked: Asked) -> list[Prediction]:
        """Return the answer to each question by the pairs alone; see `predictions`."""
        if self._settings.answer == "votes":
            hits, weigher = self.pairs(asked, VOTERS), self._weigher
            # A pair that ends a chain answers another question than the one that was asked: there is no weigher then.
            scores = None if weigher is None else rescore(hits, weigher, asked.questions, asked.vectors)
            predictions = vote(hits, asked.questions, scores)
        else:
            predictions = choose(self.pairs(asked, 1))
        return predictions if self._abstention is None else decline(predictions, self._abstention.threshold)


def _not_blank(questions: Sequence[str]) -> Bools:
    """Return which questions ask anything."""
    return np.array([not is_blank(question) for question in questions], np.bool_)
