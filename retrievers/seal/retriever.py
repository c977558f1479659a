"""SEAL: chunks by the n-grams that a language model, or the question itself, expects in them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import numpy as np
from typing_extensions import override

from mnemodex.indexers.ngram.indexer import NgramStats
from mnemodex.indexers.ngram.ragged import spans
from mnemodex.indexers.settings import SealSettings
from mnemodex.retrievers.base import Retriever
from mnemodex.retrievers.hits import Hits, Reason
from mnemodex.retrievers.seal.keys import KeyCounter, Keys, Kind, RankedKeys, own_log_probability, weigh
from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.indexers.arrays import Float32s, Float64s, Int32s, Int64s
    from mnemodex.indexers.ngram.ragged import Ragged
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.ngram.corpus import NgramCorpus
    from mnemodex.retrievers.ngram.index import NgramIndex
    from mnemodex.retrievers.readers.seal_decoder import SealDecoder
    from mnemodex.retrievers.seal.kernels import Texts, Votes
    from mnemodex.retrievers.seal.keys import Score
    from mnemodex.schemas.manifest import IndexEntry

LONGEST_PIECE = 3
"""Tokens of the longest n-gram of a question that is a key."""
MOST_DOCUMENTS = 1500
"""Documents of a question that are read and scored by all their keys."""
MOST_TOKENS = 1 << 22
"""Tokens that are read for a question: the documents that keys found, the best first, until there are so many."""
_KEPT = 1 << 22
"""Tokens that are cached: 16 MiB."""


class SealRetriever(Retriever):
    """Searches an n-gram index by keys (Bevilacqua et al., *Autoregressive Search Engines*, 2022).

    First, keys that occur up to 1,500 times find documents, and the best 1,500 of these (of 4 million tokens together)
    are kept. Then all keys vote for each of their chunks in which they begin, or in whose document's title they are.
    In the order of their weights they take places in the chunk that no better key has; a key that gets one adds its
    weight, less 0.8 of it for tokens that better keys of the chunk have too. With the scores `lm` and `lm_fm`, only the
    best key counts.

    Chunks for which no key votes are no hits, so that a question may have fewer than k, and has none if all its keys
    are more frequent, or all its words occur nowhere.

    Raises:
        ModelError: the n-gram index was built with another tokenizer; the model is not there, or has another one; a
            token id of a key is not in the index's vocabulary.
        CorruptFileError: a file is missing, cut short, or differs from its checksum.
    """

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
        """What makes keys with the language model; None without one."""
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

    @override
    def find(self, questions: list[str], k: int, where: str | None) -> Hits:
        return self.search_keys(self.keys(questions), len(questions), k, where=where)

    def keys(self, questions: Sequence[str]) -> Keys:
        """Return the keys of questions: their n-grams of up to 3 tokens and, with a model, what it writes.

        Words that occur nowhere give no keys: the pieces into which a tokenizer cuts them say nothing.

        An n-gram of the question is as probable as the model thinks, and no less than it is without a model: one that
        was never tuned for this task does not expect that a passage begins in the middle of a sentence.
        """
        return self._latest(tuple(questions))

    def _make_keys(self, questions: tuple[str, ...]) -> Keys:
        pieces = self._index.phrases.pieces(questions, LONGEST_PIECE, self._index.holds)
        number, counter = len(pieces.ngrams), self._search.counter
        own = Keys(pieces.phrase, pieces.ngrams, np.zeros(number), np.full(number, Kind.QUERY, np.int8))
        counts, token_counts = counter.count(own), counter.count_tokens(own.ngrams)
        probability = own_log_probability(counts, token_counts, own.ngrams.offsets, counter.tokens)
        own = replace(own, log_probability=probability)
        if self.decoder is None or not questions:
            return own
        keys = self.decoder.keys(questions, own)
        probability, is_own = keys.log_probability.copy(), keys.kind == Kind.QUERY
        probability[is_own] = np.maximum(probability[is_own], own.log_probability)
        return replace(keys, log_probability=probability)

    def search_keys(
        self, keys: Keys, queries: int, k: int = 10, *, where: str | None = None, score: Score | None = None
    ) -> Hits:
        """As `search`, for keys of so many questions, by the index's score or another."""
        allowed = None if where is None else self._memory.ids_where(where)

        def ranked() -> Iterator[RankedKeys]:
            counts, tokens = self._search.counter.count(keys), self._search.counter.tokens
            weights = weigh(keys, counts, tokens, score or self.settings.score)
            together = (score or self.settings.score) == "intersective"
            for start, stop in pairwise(np.searchsorted(keys.query, np.arange(queries + 1)).tolist()):
                yield RankedKeys.of(keys, slice(start, stop), weights, counts, together=together)

        def explain(numbers: Int64s) -> list[list[list[Reason]]]:
            return [
                [self._reasons(row_keys, chunk) for chunk in row[row >= 0].tolist()]
                for row_keys, row in zip(ranked(), numbers, strict=True)
            ]

        best = (self._search.find(row_keys, k, allowed) for row_keys in ranked())
        return Hits.at(self._memory.snapshot, self._index.corpus.chunks, best, k, explain=explain)

    def _reasons(self, ranked: RankedKeys, chunk: int) -> list[Reason]:
        """Return the keys that voted for a chunk, by what they added to its score."""
        ranks, gains = self._search.votes(ranked, chunk)
        order = np.argsort(-gains, kind="stable")
        texts = self._index.phrases.texts(ranked.ngrams.take(ranks[order]))
        kinds = [Kind(kind).name.lower() for kind in ranked.kind[ranks[order]].tolist()]
        return [Reason(*reason) for reason in zip(kinds, texts, gains[order].tolist(), strict=True)]


class KeySearch:
    """Searches a corpus by the keys of one question at a time; safe to use from several threads."""

    def __init__(self, corpus: NgramCorpus) -> None:
        self.counter = KeyCounter(corpus)
        self._corpus = corpus
        self._texts = TextCache(corpus)

    def find(self, ranked: RankedKeys, k: int, allowed: Int64s | None) -> tuple[Int64s, Float32s]:
        """Return the numbers and scores of the k best chunks for which a key votes; equal ones by id.

        Where `allowed` is given, they are of these ids, ascending.
        """
        chunks, _ = self._chunks(self._candidates(ranked, allowed), allowed)
        scores = self._score(ranked, chunks)[0].astype(np.float32)
        voted = np.flatnonzero(scores > 0)
        chunks, scores = chunks[voted], scores[voted]
        best = top_k(scores, k, ids=self._corpus.chunks.at(chunks).ids)
        return chunks[best], scores[best]

    def votes(self, ranked: RankedKeys, chunk: int) -> Votes:
        """Return the ranks of the keys that voted for a chunk, and what each added to its score; the best first."""
        return self._score(ranked, np.array([chunk]))[1]

    def _candidates(self, ranked: RankedKeys, allowed: Int64s | None) -> Int64s:
        """Return the best documents that have chunks that may be found, by the keys that find documents."""
        finders = ranked.finders
        number, document = self.counter.find(ranked.ngrams.take(finders), ranked.kind[finders] == Kind.TITLE)
        documents, first = np.unique(document, return_index=True)
        scores = self._provisional(ranked, finders[number], np.append(first, len(number)))
        possible = np.flatnonzero(self._chunks(documents, allowed)[1])
        documents, scores = documents[possible], scores[possible]
        documents = documents[top_k(scores, MOST_DOCUMENTS, ids=self._corpus.documents.at(documents).ids)]
        tokens = self._corpus.body.lengths(documents) + self._corpus.title.lengths(documents)
        return np.sort(documents[np.cumsum(tokens) - tokens < MOST_TOKENS])

    def _provisional(self, ranked: RankedKeys, ranks: Int64s, offsets: Int64s) -> Float32s:
        """Return scores of documents by their keys, of document i `ranks[offsets[i]:offsets[i + 1]]`, ascending."""
        from mnemodex.retrievers.seal.kernels import score_documents

        if not ranked.together:
            return ranked.weights[ranks[offsets[:-1]]].astype(np.float32)
        scores = np.zeros(len(offsets) - 1)
        score_documents(ranked.arrays, ranks, offsets, self._stamps(), scores)
        return scores.astype(np.float32)

    def _chunks(self, documents: Int64s, allowed: Int64s | None) -> tuple[Int64s, Int64s]:
        """Return the chunks of documents that may be found, and how many each document has."""
        first, sizes = self._corpus.chunks_in(documents)
        chunks = spans(first, sizes)
        if allowed is None:
            return chunks, sizes
        inside = np.isin(self._corpus.chunks.at(chunks).ids, allowed)
        row = np.repeat(np.arange(len(documents)), sizes)
        return chunks[inside], np.bincount(row[inside], minlength=len(documents))

    def _score(self, ranked: RankedKeys, chunks: Int64s) -> tuple[Float64s, Votes]:
        """Return the scores of chunks, and the votes for the last one."""
        from mnemodex.retrievers.seal.kernels import score_chunks

        documents, starts, stops = self._corpus.owned(chunks)
        distinct, row = np.unique(documents, return_inverse=True)
        owned = np.stack([row, starts, stops], axis=1)
        ranks, gains, scores = np.empty(len(ranked), np.int64), np.empty(len(ranked)), np.empty(len(chunks))
        longest = int(ranked.ngrams.lengths.max(initial=0)) if ranked.together else 0
        question, texts = (ranked.trie, ranked.arrays, longest), self._texts.read(distinct)
        count = score_chunks(question, texts, owned, self._stamps(), (ranks, gains), scores)
        return scores, (ranks[:count], gains[:count])

    def _stamps(self) -> Int64s:
        return np.zeros(int(self._corpus.body.vocabulary.ids[-1]) + 1, np.int64)


class TextCache:
    """Reads documents as tokens out of the index and keeps the last ones; safe to call from several threads."""

    def __init__(self, corpus: NgramCorpus) -> None:
        self._corpus = corpus
        self._cache: OrderedDict[int, tuple[Int32s, Int32s]] = OrderedDict()
        self._tokens = 0
        self._lock = threading.Lock()

    def read(self, documents: Int64s) -> Texts:
        """Return titles and bodies of documents, given by distinct numbers, int64 of shape (documents,)."""
        numbers = documents.tolist()
        with self._lock:
            texts = {number: self._cache[number] for number in numbers if number in self._cache}
        missing = np.array([number for number in numbers if number not in texts], np.int64)
        if len(missing):
            titles, bodies = _rows(self._corpus.title.tokens(missing)), _rows(self._corpus.body.tokens(missing))
            texts.update(zip(missing.tolist(), zip(titles, bodies, strict=True), strict=True))
        with self._lock:
            for number, text in texts.items():
                if number not in self._cache:
                    self._cache[number] = text
                    self._tokens += len(text[0]) + len(text[1])
                self._cache.move_to_end(number)
            while self._tokens > _KEPT:
                _, (title, body) = self._cache.popitem(last=False)
                self._tokens -= len(title) + len(body)
        return (*_join([texts[number][0] for number in numbers]), *_join([texts[number][1] for number in numbers]))


def _rows(texts: Ragged) -> list[Int32s]:
    """Return every row as an array of its own: a view would keep all of them."""
    return [texts.values[start:stop].astype(np.int32) for start, stop in pairwise(texts.offsets.tolist())]


def _join(rows: list[Int32s]) -> tuple[Int32s, Int64s]:
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return np.concatenate([np.zeros(0, np.int32), *rows]), offsets
