"""SEAL: chunks by the n-grams that a language model, or the question itself, expects in them."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from mnemodex.indexers.ngram.indexer import NgramStats
from mnemodex.indexers.seal import SealSettings
from mnemodex.retrievers.base import check
from mnemodex.retrievers.hits import MISSING_SCORE, Hits, Reason
from mnemodex.retrievers.seal.keys import Keys, Kind
from mnemodex.retrievers.seal.ranking import RankedKeys
from mnemodex.retrievers.seal.search import KeySearch
from mnemodex.retrievers.seal.weights import own_log_probability, weigh

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.ngram.index import NgramIndex
    from mnemodex.retrievers.readers.seal_decoder import SealDecoder
    from mnemodex.retrievers.seal.weights import Score
    from mnemodex.schemas.manifest import IndexEntry

LONGEST_PIECE = 3
"""Tokens of the longest n-gram of a question that is a key."""


class SealRetriever:
    """Searches an n-gram index by keys (Bevilacqua et al., *Autoregressive Search Engines*, 2022).

    First, keys that occur up to 1,500 times find documents, and the best 1,500 of these (of 4 million tokens together)
    are kept. Then all keys vote for each of their chunks in which they begin, or in whose document's title they stand.
    In the order of their weights they take places in the chunk that no better key has; a key that gets one adds its
    weight, less 0.8 of it for tokens that better keys of the chunk have too. With the scores `lm` and `lm_fm`, only the
    best key counts.

    Chunks for which no key votes are no hits, so that a question may have fewer than k, and has none if all its keys
    are more frequent.

    Raises:
        ModelError: the tokenizer is not the one that the n-gram index was built with.
        CorruptFileError: a file is missing, cut short, or differs from its checksum.
    """

    no_match: ClassVar[float | None] = None

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        self.name = entry.name
        self.settings = SealSettings.model_validate(entry.settings)
        self._memory = memory
        self._index = cast("NgramIndex", memory.retriever(str(self.settings.of)))
        self._search = KeySearch(self._index.corpus)
        # An evaluation asks the same questions again, for more hits.
        self._latest = lru_cache(maxsize=2)(self._make_keys)

    @cached_property
    def decoder(self) -> SealDecoder | None:
        """What makes keys with the language model; None without one.

        Raises:
            ModelError: the model is not there, or has another tokenizer than the n-gram index.
        """
        if self.settings.model is None:
            return None
        from mnemodex.retrievers.readers.seal_decoder import SealDecoder

        built = self._memory.snapshot.index(str(self.settings.of)).shards[0].stats.of(NgramStats)
        return SealDecoder(
            self._index.corpus,
            self.settings.model,
            built.tokenizer_sha256,
            beams=self.settings.beams,
            length=self.settings.length,
            body_prompt=self.settings.body_prompt,
            title_prompt=self.settings.title_prompt,
        )

    def search(self, queries: Sequence[str], k: int = 10, *, where: str | None = None) -> Hits:
        """See `Retriever.search`.

        Raises:
            ModelError: the model is not there, or has another tokenizer than the n-gram index.
        """
        questions = check(queries, k)
        return self.search_keys(self.keys(questions), len(questions), k, where=where)

    def keys(self, questions: Sequence[str]) -> Keys:
        """The keys of questions: their n-grams of up to 3 tokens and, with a model, what it writes.

        An n-gram of the question is as probable as the model thinks, and no less than it is without a model: one that
        was never tuned for this task does not expect that a passage begins in the middle of a sentence.
        """
        return self._latest(tuple(questions))

    def _make_keys(self, questions: tuple[str, ...]) -> Keys:
        pieces = self._index.phrases.pieces(questions, LONGEST_PIECE)
        number, counter = len(pieces.ngrams), self._search.counter
        own = Keys(pieces.phrase, pieces.ngrams, np.zeros(number), np.full(number, Kind.QUERY, np.int8))
        thought = own_log_probability(
            counter.count(own), counter.count_tokens(own.ngrams), own.ngrams.offsets, counter.tokens
        )
        own = replace(own, log_probability=thought)
        if self.decoder is None or not questions:
            return own
        made = self.decoder.keys(questions, own)
        probability = made.log_probability.copy()
        mine = made.kind == Kind.QUERY
        probability[mine] = np.maximum(probability[mine], own.log_probability)
        return replace(made, log_probability=probability)

    def search_keys(
        self, keys: Keys, queries: int, k: int = 10, *, where: str | None = None, score: Score | None = None
    ) -> Hits:
        """As `search`, for keys that are there already.

        Args:
            keys: of all questions.
            queries: the number of questions.
            k: as in `search`.
            where: as in `search`.
            score: another score than the index's.

        Raises:
            ModelError: a token id is not in the index's vocabulary.
        """
        allowed = None if where is None else self._memory.ids_where(where)
        chosen = score or self.settings.score
        chunks = np.full((queries, k), -1, np.int64)
        scores = np.full((queries, k), MISSING_SCORE, np.float32)
        for number, ranked in enumerate(self._ranked(keys, queries, chosen)):
            found = self._search.find(ranked, k, allowed)
            chunks[number, : len(found.chunks)] = found.chunks
            scores[number, : len(found.chunks)] = found.scores
        corpus = self._index.corpus
        places = corpus.places("chunks", chunks)

        def explain() -> list[list[list[Reason]]]:
            return [
                [self._reasons(ranked, chunk) for chunk in mine[mine >= 0].tolist()]
                for ranked, mine in zip(self._ranked(keys, queries, chosen), chunks, strict=True)
            ]

        return Hits(
            places.ids, scores, places.partition, places.row, corpus.labels, self._memory.snapshot, explain=explain
        )

    def _ranked(self, keys: Keys, queries: int, score: Score) -> Iterator[RankedKeys]:
        """The keys of each question in their order."""
        counts = self._search.counter.count(keys)
        weights = weigh(keys, counts, self._search.counter.tokens, score)
        borders = np.searchsorted(keys.query, np.arange(queries + 1)).tolist()
        for start, stop in pairwise(borders):
            yield RankedKeys.of(keys, slice(start, stop), weights, counts, together=score == "intersective")

    def _reasons(self, ranked: RankedKeys, chunk: int) -> list[Reason]:
        """The keys that voted for a chunk, by what they added to its score."""
        votes = self._search.votes(ranked, chunk)
        order = np.argsort(-votes.gains, kind="stable")
        ranks = votes.ranks[order]
        texts = self._index.phrases.texts(ranked.ngrams.take(ranks))
        kinds = [Kind(kind).name.lower() for kind in ranked.kind[ranks].tolist()]
        return [Reason(*reason) for reason in zip(kinds, texts, votes.gains[order].tolist(), strict=True)]
