"""The n-gram index: batched questions over any number of shards, with the answers of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.ngram.ragged import (
    NOTHING,
    Continuations,
    DocumentCounts,
    Occurrences,
    Ragged,
    Vocabulary,
    as_ragged,
    by_query,
    offsets_of,
    parts_of,
)
from mnemodex.indexers.ngram.shard import FMShard
from mnemodex.schemas.errors import CorruptFileError, QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike

    from mnemodex.indexers.arrays import Bools, Int32s, Int64s, Integers

    Ngrams = Ragged | Sequence[ArrayLike] | Integers


class FMIndex:
    """An FM-index over token ids (Ferragina and Manzini, 2000), in shards that share one vocabulary.

    Documents are numbered from 0 through all shards in the order of the folders, one a shard, all of the same field.
    N-grams are a `Ragged`, or a sequence of sequences of token ids; those that do not occur have count 0 and empty
    ranges. Every method that takes n-grams or tokens raises `ModelError` where a token id is not in the vocabulary.

    A range is where an n-gram is in the suffix order of a shard; the ranges of a batch are one int64 array of shape
    (queries, shards, 2). They are small enough to keep for every beam of a decoder. Every method that takes ranges
    raises `QueryError` where these are not of this index.

    Args:
        folders: of the shards.
        left_out: of shards of some of the documents again, which count as if they were not there: what occurs in these
            shards is taken off. They follow the others in ranges.
        masked: which documents these are, bool of shape (documents,).

    Attributes:
        first_documents: int64 array of shape (shards + 1,): the number of each shard's first document.

    Raises:
        CorruptFileError: a file is missing or cut short, or the shards are not of one index.
    """

    def __init__(self, folders: Sequence[Path], *, left_out: Sequence[Path] = (), masked: Bools | None = None) -> None:
        if not folders:
            raise QueryError("an n-gram index needs at least one shard: no document was indexed")
        folders = [*folders, *left_out]
        self._all = [FMShard(folder) for folder in folders]
        for folder, shard in zip(folders, self._all, strict=True):
            if shard.vocabulary_sha256 != self._all[0].vocabulary_sha256:
                raise CorruptFileError(
                    f"{folder}: its vocabulary differs from that of {folders[0]}; build both with the same tokenizer"
                )
        self.shards = self._all[: len(self._all) - len(left_out)]
        self._signs = np.repeat(np.array([1, -1], np.int64), [len(self.shards), len(left_out)])
        self._masked = masked
        self.vocabulary = Vocabulary(self._all[0].vocabulary)
        self.token_count = int(sum(sign * shard.tokens for sign, shard in zip(self._signs, self._all, strict=True)))
        self.first_documents = np.cumsum([0, *(shard.documents for shard in self.shards)], dtype=np.int64)
        self.document_count = int(self.first_documents[-1])

    def whole(self, queries: int) -> Int64s:
        """Return the ranges of the empty n-gram, which every token continues."""
        return np.tile(np.array([(0, shard.rows) for shard in self._all], np.int64), (queries, 1, 1))

    def starts(self, queries: int) -> Int64s:
        """Return the ranges before the first token of every document, which only beginnings of documents continue.

        Extended by a whole document's tokens, such a range has as many `ends` as there are documents of just these.
        """
        return np.tile(np.array([shard.separators for shard in self._all], np.int64), (queries, 1, 1))

    def ends(self, ranges: Int64s) -> Int64s:
        """Count how often the end of a document follows ranges: int64 array of shape (queries,)."""
        ended = self._check(ranges).copy()
        symbols = np.full(len(ended), len(self.vocabulary), dtype=np.int32)
        return self.sizes(self._extend(ended, symbols, np.arange(len(ended) + 1, dtype=np.int64)))

    def ranges(self, ngrams: Ngrams) -> Int64s:
        """Find the ranges of n-grams; an empty n-gram is a `QueryError`."""
        rows = as_ragged(ngrams)
        if np.any(rows.lengths == 0):
            raise QueryError(f"n-gram {np.argmin(rows.lengths)} is empty: give it at least one token")
        return self._extend(self.whole(len(rows)), self.vocabulary.symbols(rows), rows.offsets)

    def step(self, ranges: Int64s, tokens: ArrayLike) -> Int64s:
        """Extend every range by one token to the right; `tokens` are integers of shape (queries,)."""
        if np.shape(tokens) != (len(ranges),):
            raise QueryError(
                f"there are {len(ranges)} ranges, but tokens of shape {np.shape(tokens)}: give one token each"
            )
        offsets = np.arange(len(ranges) + 1, dtype=np.int64)
        return self.extend(ranges, Ragged(np.asarray(tokens) if len(ranges) else NOTHING, offsets))

    def extend(self, ranges: Int64s, ngrams: Ngrams) -> Int64s:
        """Extend every range by an n-gram to the right; by an empty one it stays as it is."""
        rows = as_ragged(ngrams)
        if len(rows) != len(ranges):
            raise QueryError(f"there are {len(ranges)} ranges, but {len(rows)} n-grams: give one each")
        return self._extend(self._check(ranges).copy(), self.vocabulary.symbols(rows), rows.offsets)

    def count(self, ngrams: Ngrams) -> Int64s:
        """Count n-grams: int64 array of shape (n-grams,). Errors as of `ranges`."""
        return self.sizes(self.ranges(ngrams))

    def continuations(self, ranges: Int64s) -> Continuations:
        """List the tokens that follow ranges, with their counts summed over the shards.

        What is missing to a range's rows ends a document there.
        """
        from mnemodex.indexers.ngram.tally import make_sums, sum_by_key

        room = sum(shard.room(self._check(ranges)[:, i]) for i, shard in enumerate(self._all))
        sums = make_sums(len(self.vocabulary))
        answers = [(NOTHING, NOTHING, NOTHING)]
        for part in parts_of(np.asarray(room)):
            queries = ranges[part]
            found = [shard.continuations(np.ascontiguousarray(queries[:, i])) for i, shard in enumerate(self._all)]
            for sign, shard_rows in zip(self._signs, found, strict=True):
                shard_rows[:, 2] *= sign
            rows = np.concatenate(found)
            offsets = np.empty(len(queries) + 1, dtype=np.int64)
            keys, totals = np.empty(len(rows), dtype=np.int64), np.empty(len(rows), dtype=np.int64)
            sum_by_key(rows, sums, keys, totals, offsets)
            answers.append((np.diff(offsets), keys[: offsets[-1]], totals[: offsets[-1]]))
        lengths, symbols, counts = (np.concatenate(column) for column in zip(*answers, strict=True))
        offsets = offsets_of(lengths)
        if len(self._all) > len(self.shards):
            offsets, symbols, counts = _kept(counts > 0, offsets, symbols, counts)
        return Continuations(offsets, self.vocabulary.ids[symbols].astype(np.int64), counts)

    def locate(self, ngrams: Ngrams, *, limit: int | None = None) -> Occurrences:
        """Find where n-grams occur, by document and position, or the first `limit` occurrences of each in the corpus.

        With a document array only about so many are located; without one, all are, and the limit saves no time.
        """
        if limit is not None and limit < 1:
            raise QueryError(f"limit is {limit}, but must be at least 1")
        rows = as_ragged(ngrams)
        ranges = self.ranges(rows)
        counts = (ranges[:, :, 1] - ranges[:, :, 0])[:, : len(self.shards)]
        # Of which documents they are is known when they are located.
        every = limit is None or self._masked is not None
        wanted = counts if every else np.clip(limit - (np.cumsum(counts, axis=1) - counts), 0, counts)
        ranges[:, : len(self.shards)][wanted == 0] = 0
        answers = []
        for i, shard in enumerate(self.shards):
            for part in parts_of(ranges[:, i, 1] - ranges[:, i, 0]):
                limits = np.ascontiguousarray(wanted[part, i])
                lengths, documents, last = shard.locate(np.ascontiguousarray(ranges[part, i]), limits)
                positions = last + 1 - np.repeat(rows.lengths[part], lengths)
                answers.append((lengths, documents + self.first_documents[i], positions))
        offsets, documents, positions = by_query(answers, len(rows), len(self.shards))
        if self._masked is not None:
            offsets, documents, positions = _kept(~self._masked[documents], offsets, documents, positions)
            if limit is not None:
                first = np.arange(len(documents)) - np.repeat(offsets[:-1], np.diff(offsets)) < limit
                offsets, documents, positions = _kept(first, offsets, documents, positions)
        return Occurrences(offsets, documents, positions)

    def documents(self, ngrams: Ngrams) -> DocumentCounts:
        """Find the documents that n-grams occur in, and how often: `documents_of` their `ranges`."""
        return self.documents_of(self.ranges(ngrams))

    def documents_of(self, ranges: Int64s) -> DocumentCounts:
        """Find the documents of ranges, and how often each is in them.

        It looks at every occurrence, and takes 20 bytes for each one of the most frequent n-gram. Without a document
        array every occurrence is located, which takes some hundred times as long.
        """
        self._check(ranges)
        answers = []
        for i, shard in enumerate(self.shards):
            for part in parts_of(ranges[:, i, 1] - ranges[:, i, 0]):
                lengths, documents, counts = shard.count_documents(np.ascontiguousarray(ranges[part, i]))
                answers.append((lengths, documents + self.first_documents[i], counts))
        offsets, documents, counts = by_query(answers, len(ranges), len(self.shards))
        if self._masked is not None:
            offsets, documents, counts = _kept(~self._masked[documents], offsets, documents, counts)
        return DocumentCounts(offsets, documents, counts)

    def lengths(self, documents: Int64s) -> Int64s:
        """Count the tokens of documents, in any order: int64 array of shape (documents,)."""
        lengths = np.zeros(len(documents), dtype=np.int64)
        for shard, places, numbers in self._by_shard(documents):
            lengths[places] = shard.lengths(numbers)
        return lengths

    def tokens(self, documents: Int64s) -> Ragged:
        """Read documents out of the index, in any order, some 0.2 us a token: their token ids, int32.

        The first call finds the row of every document's separator, which are kept: 8 bytes a document.
        """
        offsets = offsets_of(self.lengths(documents))
        symbols = np.empty(offsets[-1], dtype=np.int32)
        for shard, places, numbers in self._by_shard(documents):
            shard.read(numbers, offsets[places], symbols)
        return Ragged(self.vocabulary.ids[symbols], offsets)

    def _by_shard(self, documents: Int64s) -> Iterator[tuple[FMShard, Int64s, Int64s]]:
        """Yield every shard that documents are in, their places among those given, and their numbers in the shard."""
        wrong = documents[(documents < 0) | (documents >= self.document_count)]
        if len(wrong):
            last = self.document_count - 1
            raise QueryError(f"there is no document {wrong[0]}: the index's are numbered from 0 to {last}")
        shards, numbers = self.shards_of(documents)
        for i in np.unique(shards).tolist():
            places = np.flatnonzero(shards == i)
            yield self.shards[i], places, numbers[places]

    def shards_of(self, documents: Int64s) -> tuple[Int64s, Int64s]:
        """Return the shard of each document, and its number in that shard."""
        shards = np.searchsorted(self.first_documents, documents, side="right") - 1
        return shards, documents - self.first_documents[shards]

    def _extend(self, ranges: Int64s, symbols: Int32s, offsets: Int64s) -> Int64s:
        """Overwrite ranges with those after n-grams of these symbols."""
        for i, shard in enumerate(self._all):
            part = np.ascontiguousarray(ranges[:, i])
            shard.extend(part, symbols, offsets)
            ranges[:, i] = part
        return ranges

    def _check(self, ranges: Int64s) -> Int64s:
        """Return ranges that lie in this index: the kernels read memory by them."""
        shape = (len(ranges), len(self._all), 2)
        if ranges.shape != shape or ranges.dtype != np.int64:
            raise QueryError(f"ranges must be int64 of shape {shape}, not {ranges.dtype} of shape {ranges.shape}")
        low, high = ranges[:, :, 0], ranges[:, :, 1]
        if np.any(low < 0) or np.any(low > high) or np.any(high > [shard.rows for shard in self._all]):
            raise QueryError(
                "ranges lie outside the index: use those that `whole`, `ranges` or `step` of this index gave"
            )
        return ranges

    def sizes(self, ranges: Int64s) -> Int64s:
        """Return the rows of each range in all shards, without those that are left out."""
        sizes: Int64s = ((ranges[:, :, 1] - ranges[:, :, 0]) * self._signs).sum(axis=1)
        return sizes


def _kept(keep: Bools, offsets: Int64s, first: Int64s, second: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    """Return some of the elements of each query: their offsets and two columns."""
    before = np.append(0, np.cumsum(keep))
    return before[offsets], first[keep], second[keep]
