"""The n-gram index: counts, places and continuations of phrases, and chunks that hold them."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from mnemodex.indexers.models.tokenizers import tokenizer, tokenizer_hash
from mnemodex.indexers.ngram.indexer import NgramStats
from mnemodex.retrievers.base import Retriever
from mnemodex.retrievers.hits import Hits, Reason
from mnemodex.retrievers.ngram.corpus import NgramCorpus
from mnemodex.retrievers.ngram.phrases import PhraseTokenizer
from mnemodex.retrievers.ngram.results import DocumentCounts, Located, NextTokens
from mnemodex.retrievers.top_k import top_k
from mnemodex.schemas.errors import ModelError, QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.indexers.arrays import Bools, Float32s, Int64s
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.ngram.phrases import Phrases, Variants
    from mnemodex.schemas.manifest import IndexEntry


class NgramIndex(Retriever):
    """Answers batches of phrases, which are texts or token ids.

    A text is cut by the index's tokenizer and looked for with and without a space before it; what the tokenizer makes
    equal (case, with an uncased one) counts as equal, and a phrase with a token that is unknown to it occurs nowhere.
    A phrase ends with a token, so that it is also found at the beginning of a longer word that starts with this token.

    `search` returns the chunks in which the exact phrase occurs, by how often it begins in them. A phrase has fewer
    than k hits where fewer chunks (that `where` keeps) hold it, and one without a token has none. With `where`, an
    occurrence counts if all chunks that it touches are kept.

    Raises:
        ModelError: the tokenizer is not the one that the index was built with; a token id is not in the vocabulary.
        CorruptFileError: a file is missing, cut short, or differs from its checksum.
        QueryError: a phrase has no token (in all methods but `search`), or the limit is not positive.
    """

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        self.name = entry.name
        self._memory = memory
        name = str(entry.settings["tokenizer"])
        built = entry.shards[0].stats.of(NgramStats).tokenizer_sha256
        if tokenizer_hash(name) != built:
            raise ModelError(
                f"index {entry.name!r} was built with another tokenizer {name!r} (SHA-256 {built[:12]}…) than the one "
                "installed here; install that one, or build again"
            )
        snapshot = memory.snapshot
        masked = partial(snapshot.tombstones.mask, "doc_id") if entry.masked else None
        self.corpus = NgramCorpus(snapshot.shards(entry), left_out=snapshot.left_out(entry), masked=masked)
        self.phrases = PhraseTokenizer(tokenizer(name))

    def count(self, phrases: Phrases, *, strict: bool = True) -> Int64s:
        """Return how often each phrase occurs: int64 of shape (phrases,); unless strict, one without a token never."""
        variants = self._variants(phrases) if strict else self.phrases.variants(phrases)
        counts = np.zeros(len(phrases), np.int64)
        np.add.at(counts, variants.phrase, self.corpus.body.count(variants.ngrams))
        return counts

    def holds(self, words: list[str]) -> Bools:
        """Return whether words occur in a text or a title: bool of shape (words,)."""
        variants = self.phrases.variants(words)
        found = np.zeros(len(words), np.bool_)
        for index in (self.corpus.body, self.corpus.title):
            found[variants.phrase[index.count(variants.ngrams) > 0]] = True
        return found

    def locate(self, phrases: Phrases, *, limit: int | None = None) -> Located:
        """Return where each phrase occurs, with a limit the first occurrences of each in the index."""
        variants = self._variants(phrases)
        occurrences = self.corpus.body.locate(variants.ngrams, limit=limit)
        phrase, length = (
            np.repeat(column, np.diff(occurrences.offsets)) for column in (variants.phrase, variants.ngrams.lengths)
        )
        order = np.lexsort((occurrences.positions, occurrences.documents, phrase))
        offsets = _offsets(phrase, len(phrases))
        if limit is not None:
            # Both n-grams of a phrase have as many.
            order = order[np.arange(len(order)) - offsets[phrase] < limit]
            offsets = _offsets(phrase[order], len(phrases))
        documents, tokens = occurrences.documents[order], occurrences.positions[order]
        chunks = self.corpus.chunks_of(documents, tokens)
        return Located(offsets, self.corpus.chunks.at(chunks).ids, documents, tokens, length[order])

    def continuations(self, phrases: Phrases) -> NextTokens:
        """Return the tokens that follow each phrase, with how often."""
        variants = self._variants(phrases)
        following = self.corpus.body.continuations(self.corpus.body.ranges(variants.ngrams))
        phrase, tokens, counts = _sums(
            np.repeat(variants.phrase, np.diff(following.offsets)), following.tokens, following.counts
        )
        order = np.lexsort((tokens, -counts, phrase))
        tokens = tokens[order]
        return NextTokens(_offsets(phrase, len(phrases)), tokens, counts[order], self.phrases.decode(tokens))

    def documents(self, phrases: Phrases) -> DocumentCounts:
        """Return the documents that each phrase occurs in, and how often."""
        variants = self._variants(phrases)
        matches = self.corpus.body.documents(variants.ngrams)
        repeated = np.repeat(variants.phrase, np.diff(matches.offsets))
        phrase, documents, counts = _sums(repeated, matches.documents, matches.counts)
        doc_ids = self.corpus.documents.at(documents).ids
        return DocumentCounts(_offsets(phrase, len(phrases)), doc_ids, counts)

    @override
    def find(self, phrases: list[str], k: int, where: str | None) -> Hits:
        best = list(self.best_chunks(phrases, k, where=where))

        def explain(_: Int64s) -> list[list[list[Reason]]]:
            return [
                [[Reason("phrase", phrase.strip(), count)] for count in counts.tolist()]
                for phrase, (_, counts) in zip(phrases, best, strict=True)
            ]

        return Hits.at(self._memory.snapshot, self.corpus.chunks, best, k, explain=explain)

    def best_chunks(self, phrases: list[str], k: int, *, where: str | None) -> Iterator[tuple[Int64s, Float32s]]:
        """Yield the numbers and counts of the hits of each phrase."""
        allowed = None if where is None else self.ids_where(where)
        variants = self.phrases.variants(phrases)
        occurrences = self.corpus.body.locate(variants.ngrams)
        chunks = self.corpus.chunks_of(occurrences.documents, occurrences.positions)
        inside = chunks >= 0
        if allowed is not None:
            lengths = np.repeat(variants.ngrams.lengths, np.diff(occurrences.offsets))
            last = self.corpus.chunks_of(occurrences.documents, occurrences.positions + lengths - 1)
            inside &= self._are_kept(chunks, last, allowed)
        phrase = np.repeat(variants.phrase, np.diff(occurrences.offsets))[inside]
        phrase, chunks, sums = _sums(phrase, chunks[inside], np.ones(int(inside.sum()), np.int64))
        counts = sums.astype(np.float32)
        ids = self.corpus.chunks.at(chunks).ids
        for start, stop in pairwise(_offsets(phrase, len(phrases)).tolist()):
            best = start + top_k(counts[start:stop], k, ids=ids[start:stop])
            yield chunks[best], counts[best]

    def ids_where(self, where: str) -> Int64s:
        """Return the ids of the chunks that a filter keeps, int64, ascending."""
        return self._memory.ids_where(where)

    def kept_around(self, chunk: int, allowed: Int64s) -> tuple[int, int]:
        """Return the tokens [first, after) of a document that may be seen around a chunk that is kept.

        They are those of all chunks beside it, in one run, whose ids, int64, ascending, are allowed.
        """
        number, _, _ = self.corpus.owned(np.array([chunk]))
        (first,), (size,) = self.corpus.chunks_in(number)
        refused = first + np.flatnonzero(~np.isin(self.corpus.chunks.at(np.arange(first, first + size)).ids, allowed))
        begin = int(refused[refused < chunk].max(initial=first - 1)) + 1
        end = int(refused[refused > chunk].min(initial=first + size))
        _, starts, stops = self.corpus.owned(np.array([begin, end - 1]))
        return int(starts[0]), int(stops[1])

    def _are_kept(self, first: Int64s, last: Int64s, allowed: Int64s) -> Bools:
        """Return whether all chunks from the first to the last of each occurrence are allowed: bool of shape (n,)."""
        numbers, at = np.unique(np.concatenate([first, last]), return_inverse=True)
        ids = self.corpus.chunks.at(np.maximum(numbers, 0)).ids
        kept = (numbers >= 0) & np.isin(ids, allowed)
        both: Bools = kept[at[: len(first)]] & kept[at[len(first) :]]
        for row in np.flatnonzero(both & (last - first > 1)):
            # A phrase that is longer than a chunk.
            between = self.corpus.chunks.at(np.arange(first[row] + 1, last[row])).ids
            both[row] = bool(np.isin(between, allowed).all())
        return both

    def _variants(self, phrases: Phrases) -> Variants:
        variants = self.phrases.variants(phrases)
        if variants.empty:
            raise QueryError(f"phrase {variants.empty[0]} has no token; leave it out")
        return variants


def _sums(phrase: Int64s, keys: Int64s, counts: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    """Sum counts by phrase and key: phrases, keys and sums, by phrase and key; a phrase may be two n-grams."""
    width = int(keys.max(initial=0)) + 1
    pairs, group = np.unique(phrase * width + keys, return_inverse=True)
    sums = np.zeros(len(pairs), np.int64)
    np.add.at(sums, group, counts)
    return pairs // width, pairs % width, sums


def _offsets(phrase: Int64s, phrases: int) -> Int64s:
    """Return where each phrase's elements begin, given the ascending phrase numbers of all."""
    return np.searchsorted(phrase, np.arange(phrases + 1)).astype(np.int64)
