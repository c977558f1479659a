"""The n-gram index: counts, places and continuations of phrases, and chunks that hold them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from mnemodex.indexers.models.tokenizers import tokenizer, tokenizer_hash
from mnemodex.indexers.ngram.indexer import NgramStats
from mnemodex.retrievers.base import check
from mnemodex.retrievers.hits import MISSING_SCORE, Hits
from mnemodex.retrievers.ngram.corpus import NgramCorpus
from mnemodex.retrievers.ngram.phrases import PhraseTokenizer
from mnemodex.retrievers.top_k import top_k
from mnemodex.schemas.errors import ModelError, QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.ngram.phrases import Phrases, Variants
    from mnemodex.schemas.manifest import IndexEntry


class Located(NamedTuple):
    """Where phrases occur, in the order of the corpus: of phrase i, the elements `offsets[i]:offsets[i + 1]`."""

    offsets: NDArray[np.int64]
    chunk_ids: NDArray[np.int64]
    """The first chunk that covers the occurrence's start; -1 in a document without chunks."""
    documents: NDArray[np.int64]
    """Numbers of the documents, counted through the index."""
    tokens: NDArray[np.int64]
    """The occurrences' first tokens, counted in their documents."""
    lengths: NDArray[np.int64]
    """Their tokens."""


class NextTokens(NamedTuple):
    """What follows phrases, the most frequent first: of phrase i, the elements `offsets[i]:offsets[i + 1]`."""

    offsets: NDArray[np.int64]
    tokens: NDArray[np.int64]
    counts: NDArray[np.int64]
    texts: list[str]


class DocumentCounts(NamedTuple):
    """The documents of phrases, in the order of the corpus: of phrase i, the elements `offsets[i]:offsets[i + 1]`."""

    offsets: NDArray[np.int64]
    doc_ids: NDArray[np.int64]
    counts: NDArray[np.int64]


class NgramIndex:
    """Answers batches of phrases, which are texts or token ids.

    A text is cut by the index's tokenizer and looked for with and without a space before it; what the tokenizer makes
    equal (case, with an uncased one) counts as equal, and a phrase with a token that is unknown to it occurs nowhere.
    A phrase ends with a token, so that it is also found at the beginning of a longer word that starts with this token.

    Raises:
        ModelError: the tokenizer is not the one that the index was built with.
        CorruptFileError: a file is missing, cut short, or differs from its checksum.
    """

    no_match: ClassVar[float | None] = None

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        self.name = entry.name
        self._memory = memory
        name = str(entry.settings["tokenizer"])
        built = entry.shards[0].stats.of(NgramStats).tokenizer_sha256
        if tokenizer_hash(name) != built:
            msg = (
                f"index {entry.name!r} was built with another tokenizer {name!r} (SHA-256 {built[:12]}…) than the one "
                "installed here; install that one, or build again"
            )
            raise ModelError(msg)
        self.corpus = NgramCorpus(memory.snapshot.shards(entry))
        self.phrases = PhraseTokenizer(tokenizer(name))

    def count(self, phrases: Phrases) -> NDArray[np.int64]:
        """How often each phrase occurs: int64 of shape (phrases,).

        Raises:
            QueryError: a phrase has no token.
            ModelError: a token id is not in the vocabulary.
        """
        variants = self._variants(phrases)
        counts = np.zeros(len(phrases), np.int64)
        np.add.at(counts, variants.phrase, self.corpus.body.count(variants.ngrams))
        return counts

    def locate(self, phrases: Phrases, *, limit: int | None = None) -> Located:
        """Where each phrase occurs.

        Args:
            phrases: what to find.
            limit: how many occurrences of each are wanted, the first ones in the corpus.

        Raises:
            QueryError: a phrase has no token, or the limit is not positive.
            ModelError: a token id is not in the vocabulary.
        """
        variants = self._variants(phrases)
        found = self.corpus.body.locate(variants.ngrams, limit=limit)
        phrase, length = (
            np.repeat(column, np.diff(found.offsets)) for column in (variants.phrase, variants.ngrams.lengths)
        )
        order = np.lexsort((found.positions, found.documents, phrase))
        offsets = _offsets(phrase, len(phrases))
        if limit is not None:
            # Both n-grams of a phrase have as many.
            order = order[np.arange(len(order)) - offsets[phrase] < limit]
            offsets = _offsets(phrase[order], len(phrases))
        documents, tokens = found.documents[order], found.positions[order]
        chunks = self.corpus.chunks_of(documents, tokens)
        return Located(offsets, self.corpus.places("chunks", chunks).ids, documents, tokens, length[order])

    def continuations(self, phrases: Phrases) -> NextTokens:
        """The tokens that follow each phrase, with how often.

        Raises:
            QueryError: a phrase has no token.
            ModelError: a token id is not in the vocabulary.
        """
        variants = self._variants(phrases)
        found = self.corpus.body.continuations(self.corpus.body.ranges(variants.ngrams))
        phrase = np.repeat(variants.phrase, np.diff(found.offsets))
        phrase, tokens, counts = _sums(phrase, found.tokens, found.counts)
        order = np.lexsort((tokens, -counts, phrase))
        tokens = tokens[order]
        return NextTokens(_offsets(phrase, len(phrases)), tokens, counts[order], self.phrases.decode(tokens))

    def documents(self, phrases: Phrases) -> DocumentCounts:
        """The documents that each phrase occurs in, and how often.

        Raises:
            QueryError: a phrase has no token.
            ModelError: a token id is not in the vocabulary.
        """
        variants = self._variants(phrases)
        found = self.corpus.body.documents(variants.ngrams)
        phrase = np.repeat(variants.phrase, np.diff(found.offsets))
        phrase, documents, counts = _sums(phrase, found.documents, found.counts)
        doc_ids = self.corpus.places("documents", documents).ids
        return DocumentCounts(_offsets(phrase, len(phrases)), doc_ids, counts)

    def search(self, queries: Sequence[str], k: int = 10, *, where: str | None = None) -> Hits:
        """See `Retriever.search`: the chunks in which the exact phrase occurs, by how often it begins in them.

        Chunks in which it does not are no hits: a phrase has fewer than k where fewer chunks (that `where` keeps) hold
        it, and one without a token has none.
        """
        numbers, scores = self.best_chunks(check(queries, k), k, where=where)
        found = self.corpus.places("chunks", numbers)
        return Hits(found.ids, scores, found.partition, found.row, self.corpus.labels, self._memory.snapshot)

    def best_chunks(
        self, questions: list[str], k: int, *, where: str | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The numbers and scores of the hits of `search`, of shape (questions, k); -1 and -inf where there is none."""
        numbers = np.full((len(questions), k), -1, np.int64)
        scores = np.full((len(questions), k), MISSING_SCORE, np.float32)
        allowed = None if where is None else self._memory.ids_where(where)
        question, chunks, counts = self._chunks(self.phrases.variants(questions))
        ids = self.corpus.places("chunks", chunks).ids
        kept = np.flatnonzero(ids >= 0 if allowed is None else np.isin(ids, allowed))
        borders = np.searchsorted(question[kept], np.arange(len(questions) + 1))
        for number, (start, stop) in enumerate(pairwise(borders.tolist())):
            here = kept[start:stop]
            chosen = here[top_k(counts[here], k, ids=ids[here])]
            numbers[number, : len(chosen)] = chunks[chosen]
            scores[number, : len(chosen)] = counts[chosen]
        return numbers, scores

    def _chunks(self, variants: Variants) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """The chunks in which phrases begin: phrase, chunk number and count, by phrase and chunk."""
        found = self.corpus.body.locate(variants.ngrams)
        phrase = np.repeat(variants.phrase, np.diff(found.offsets))
        chunks = self.corpus.chunks_of(found.documents, found.positions)
        inside = chunks >= 0
        phrase, chunks, counts = _sums(phrase[inside], chunks[inside], np.ones(int(inside.sum()), np.int64))
        return phrase, chunks, counts.astype(np.float32)

    def _variants(self, phrases: Phrases) -> Variants:
        variants = self.phrases.variants(phrases)
        if variants.empty:
            msg = f"phrase {variants.empty[0]} has no token: leave it out"
            raise QueryError(msg)
        return variants


def _sums(
    phrase: NDArray[np.int64], keys: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Sum counts by phrase and key: phrases, keys and sums, by phrase and key; a phrase may be two n-grams."""
    width = int(keys.max(initial=0)) + 1
    pairs, place = np.unique(phrase * width + keys, return_inverse=True)
    sums = np.zeros(len(pairs), np.int64)
    np.add.at(sums, place, counts)
    return pairs // width, pairs % width, sums


def _offsets(phrase: NDArray[np.int64], phrases: int) -> NDArray[np.int64]:
    """Where each phrase's elements begin, of ascending phrase numbers."""
    return np.searchsorted(phrase, np.arange(phrases + 1)).astype(np.int64)
