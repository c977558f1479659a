"""The n-gram index: batched questions over any number of shards, with the answers of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.ngram.answers import (
    NOTHING,
    Continuations,
    DocumentCounts,
    Occurrences,
    by_query,
    offsets_of,
    parts_of,
)
from mnemodex.indexers.ngram.ragged import Ragged, as_ragged
from mnemodex.indexers.ngram.shard import FMShard
from mnemodex.indexers.ngram.vocabulary import Vocabulary
from mnemodex.schemas.errors import CorruptFileError, QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    Ngrams = Ragged | Sequence[ArrayLike] | NDArray[np.integer]


class FMIndex:
    """An FM-index over token ids (Ferragina and Manzini, 2000), in shards that share one vocabulary.

    Documents are numbered from 0 through all shards in the order given. N-grams are a `Ragged`, or a sequence of
    sequences of token ids; those that do not occur have count 0 and empty ranges.

    A range is where an n-gram stands in the suffix order of a shard; the ranges of a batch are one int64 array of shape
    (queries, shards, 2). They are small enough to keep for every beam of a decoder.

    Args:
        folders: one folder a shard, all of the same field.

    Attributes:
        vocabulary: the shared vocabulary.
        token_count: number of tokens.
        document_count: number of documents.
        first_documents: int64 array of shape (shards + 1,): the number of each shard's first document.

    Raises:
        CorruptFileError: a file is missing or cut short, or the shards are not of one index.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        if not folders:
            raise QueryError("an n-gram index needs at least one shard: no document was indexed")
        self.shards = [FMShard(folder) for folder in folders]
        for folder, shard in zip(folders, self.shards, strict=True):
            if shard.vocabulary_sha256 != self.shards[0].vocabulary_sha256:
                raise CorruptFileError(
                    f"{folder}: its vocabulary differs from that of {folders[0]}; build both with the same tokenizer"
                )
        self.vocabulary = Vocabulary(self.shards[0].vocabulary)
        self.token_count = sum(shard.tokens for shard in self.shards)
        self.first_documents = np.cumsum([0, *(shard.documents for shard in self.shards)], dtype=np.int64)
        self.document_count = int(self.first_documents[-1])

    def whole(self, queries: int) -> NDArray[np.int64]:
        """The ranges of the empty n-gram, which every token continues: int64 array of shape (queries, shards, 2)."""
        ranges = np.zeros((queries, len(self.shards), 2), dtype=np.int64)
        ranges[:, :, 1] = [shard.rows for shard in self.shards]
        return ranges

    def starts(self, queries: int) -> NDArray[np.int64]:
        """The ranges before the first token of every document, which only beginnings of documents continue.

        Extended by a whole document's tokens, such a range has as many `ends` as there are documents of just these.

        Returns:
            int64 array of shape (queries, shards, 2).
        """
        ranges = np.empty((queries, len(self.shards), 2), dtype=np.int64)
        ranges[:] = [shard.separators for shard in self.shards]
        return ranges

    def ends(self, ranges: NDArray[np.int64]) -> NDArray[np.int64]:
        """How often the end of a document follows ranges.

        Args:
            ranges: int64 array of shape (queries, shards, 2), from `whole`, `starts`, `ranges` or `step`.

        Returns:
            int64 array of shape (queries,).

        Raises:
            QueryError: the ranges are not of this index.
        """
        found = self._own(ranges).copy()
        symbols = np.full(len(found), len(self.vocabulary), dtype=np.int32)
        self._extend_by(found, symbols, np.arange(len(found) + 1, dtype=np.int64))
        counts: NDArray[np.int64] = (found[:, :, 1] - found[:, :, 0]).sum(axis=1)
        return counts

    def ranges(self, ngrams: Ngrams) -> NDArray[np.int64]:
        """Find n-grams.

        Returns:
            int64 array of shape (n-grams, shards, 2).

        Raises:
            ModelError: a token id is not in the vocabulary.
            QueryError: an n-gram is empty.
        """
        rows = as_ragged(ngrams)
        if np.any(rows.lengths == 0):
            raise QueryError(f"n-gram {np.argmin(rows.lengths)} is empty: give it at least one token")
        return self._extend(self.whole(len(rows)), rows)

    def step(self, ranges: NDArray[np.int64], tokens: ArrayLike) -> NDArray[np.int64]:
        """Extend every range by one token to the right.

        Args:
            ranges: int64 array of shape (queries, shards, 2), from `whole`, `ranges` or `step`.
            tokens: integers of shape (queries,).

        Returns:
            The new ranges, of the same shape.

        Raises:
            ModelError: a token id is not in the vocabulary.
            QueryError: the ranges are not of this index, or there are not as many tokens.
        """
        if np.shape(tokens) != (len(ranges),):
            raise QueryError(
                f"there are {len(ranges)} ranges, but tokens of shape {np.shape(tokens)}: give one token each"
            )
        appended = Ragged(np.asarray(tokens) if len(ranges) else NOTHING, np.arange(len(ranges) + 1, dtype=np.int64))
        return self._extend(self._own(ranges).copy(), appended)

    def extend(self, ranges: NDArray[np.int64], ngrams: Ngrams) -> NDArray[np.int64]:
        """Extend every range by an n-gram to the right; by an empty one it stays as it is.

        Args:
            ranges: int64 array of shape (queries, shards, 2), from `whole`, `starts`, `ranges` or `step`.
            ngrams: one for each range.

        Returns:
            The new ranges, of the same shape.

        Raises:
            ModelError: a token id is not in the vocabulary.
            QueryError: the ranges are not of this index, or there are not as many n-grams.
        """
        rows = as_ragged(ngrams)
        if len(rows) != len(ranges):
            raise QueryError(f"there are {len(ranges)} ranges, but {len(rows)} n-grams: give one each")
        return self._extend(self._own(ranges).copy(), rows)

    def count(self, ngrams: Ngrams) -> NDArray[np.int64]:
        """Count n-grams: int64 array of shape (n-grams,). Errors as of `ranges`."""
        ranges = self.ranges(ngrams)
        counts: NDArray[np.int64] = (ranges[:, :, 1] - ranges[:, :, 0]).sum(axis=1)
        return counts

    def continuations(self, ranges: NDArray[np.int64]) -> Continuations:
        """List the tokens that follow ranges, with how often; what is missing to a range's rows ends a document there.

        Args:
            ranges: int64 array of shape (queries, shards, 2), from `whole`, `ranges` or `step`.

        Returns:
            The tokens with their counts summed over the shards.

        Raises:
            QueryError: the ranges are not of this index.
        """
        from mnemodex.indexers.ngram.tally import make_sums, sum_by_key

        own = self._own(ranges)
        room = sum(shard.room(own[:, i]) for i, shard in enumerate(self.shards))
        sums = make_sums(len(self.vocabulary))
        lengths, symbols, counts = [NOTHING], [NOTHING], [NOTHING]
        for part in parts_of(np.asarray(room)):
            asked = own[part]
            found = np.concatenate(
                [shard.continuations(np.ascontiguousarray(asked[:, i])) for i, shard in enumerate(self.shards)]
            )
            offsets = np.empty(len(asked) + 1, dtype=np.int64)
            keys, totals = np.empty(len(found), dtype=np.int64), np.empty(len(found), dtype=np.int64)
            sum_by_key(found, sums, keys, totals, offsets)
            lengths.append(np.diff(offsets))
            symbols.append(keys[: offsets[-1]])
            counts.append(totals[: offsets[-1]])
        tokens = self.vocabulary.ids[np.concatenate(symbols)].astype(np.int64)
        return Continuations(offsets_of(np.concatenate(lengths)), tokens, np.concatenate(counts))

    def locate(self, ngrams: Ngrams, *, limit: int | None = None) -> Occurrences:
        """Find where n-grams occur.

        Args:
            ngrams: what to find.
            limit: how many occurrences of each n-gram are wanted, the first ones in the corpus. With a document array
                only about so many are located; without one, all are, and the limit saves no time.

        Returns:
            The occurrences of each n-gram, by document and position.

        Raises:
            ModelError: a token id is not in the vocabulary.
            QueryError: an n-gram is empty, or the limit is not positive.
        """
        if limit is not None and limit < 1:
            raise QueryError(f"limit is {limit}, but must be at least 1")
        rows = as_ragged(ngrams)
        ranges = self.ranges(rows)
        counts = ranges[:, :, 1] - ranges[:, :, 0]
        wanted = counts if limit is None else np.clip(limit - (np.cumsum(counts, axis=1) - counts), 0, counts)
        ranges[wanted == 0] = 0
        found = []
        for i, shard in enumerate(self.shards):
            for part in parts_of(ranges[:, i, 1] - ranges[:, i, 0]):
                asked = np.ascontiguousarray(ranges[part, i])
                lengths, documents, last = shard.locate(asked, np.ascontiguousarray(wanted[part, i]))
                positions = last + 1 - np.repeat(rows.lengths[part], lengths)
                found.append((lengths, documents + self.first_documents[i], positions))
        return Occurrences(*by_query(found, len(rows), len(self.shards)))

    def documents(self, ngrams: Ngrams) -> DocumentCounts:
        """Find the documents that n-grams occur in, and how often: `documents_of` their `ranges`."""
        return self.documents_of(self.ranges(ngrams))

    def documents_of(self, ranges: NDArray[np.int64]) -> DocumentCounts:
        """Find the documents of ranges, and how often each is in them.

        It looks at every occurrence, and takes 20 bytes for each one of the most frequent n-gram. Without a document
        array every occurrence is located, which takes some hundred times as long.

        Args:
            ranges: int64 array of shape (queries, shards, 2), from `starts`, `ranges` or `step`.

        Raises:
            QueryError: the ranges are not of this index.
        """
        self._own(ranges)
        found = []
        for i, shard in enumerate(self.shards):
            for part in parts_of(ranges[:, i, 1] - ranges[:, i, 0]):
                lengths, documents, counts = shard.count_documents(np.ascontiguousarray(ranges[part, i]))
                found.append((lengths, documents + self.first_documents[i], counts))
        return DocumentCounts(*by_query(found, len(ranges), len(self.shards)))

    def lengths(self, documents: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of documents.

        Args:
            documents: int64 array of shape (documents,), in any order.

        Returns:
            int64 array of the same shape.

        Raises:
            QueryError: there is no such document.
        """
        lengths = np.zeros(len(documents), dtype=np.int64)
        for i, here, local in self._by_shard(documents):
            lengths[here] = self.shards[i].lengths(local)
        return lengths

    def tokens(self, documents: NDArray[np.int64]) -> Ragged:
        """Read documents out of the index, some 0.2 us a token.

        The first call finds the row of every document's separator, which are kept: 8 bytes a document.

        Args:
            documents: int64 array of shape (documents,), in any order.

        Returns:
            Their token ids, int32, one row a document.

        Raises:
            QueryError: there is no such document.
        """
        offsets = offsets_of(self.lengths(documents))
        symbols = np.empty(offsets[-1], dtype=np.int32)
        for i, here, local in self._by_shard(documents):
            self.shards[i].read(local, offsets[here], symbols)
        return Ragged(self.vocabulary.ids[symbols], offsets)

    def _by_shard(self, documents: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.int64]]]:
        """Every shard that documents are in: its number, their places among those given, their numbers there."""
        wrong = documents[(documents < 0) | (documents >= self.document_count)]
        if len(wrong):
            last = self.document_count - 1
            raise QueryError(f"there is no document {wrong[0]}: the index's are numbered from 0 to {last}")
        shards, local = self.shards_of(documents)
        for i in np.unique(shards).tolist():
            here = np.flatnonzero(shards == i)
            yield i, here, local[here]

    def shards_of(self, documents: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Translate document numbers: the shard of each, and its number in that shard, int64 arrays of that shape."""
        shards = np.searchsorted(self.first_documents, documents, side="right") - 1
        return shards, documents - self.first_documents[shards]

    def _extend(self, ranges: NDArray[np.int64], rows: Ragged) -> NDArray[np.int64]:
        return self._extend_by(ranges, self.vocabulary.symbols(rows), rows.offsets)

    def _extend_by(
        self, ranges: NDArray[np.int64], symbols: NDArray[np.int32], offsets: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        for i, shard in enumerate(self.shards):
            part = np.ascontiguousarray(ranges[:, i])
            shard.extend(part, symbols, offsets)
            ranges[:, i] = part
        return ranges

    def _own(self, ranges: NDArray[np.int64]) -> NDArray[np.int64]:
        """Check that ranges lie in this index: the kernels read memory by them."""
        shape = (len(ranges), len(self.shards), 2)
        if ranges.shape != shape or ranges.dtype != np.int64:
            raise QueryError(f"ranges must be int64 of shape {shape}, not {ranges.dtype} of shape {ranges.shape}")
        low, high = ranges[:, :, 0], ranges[:, :, 1]
        if np.any(low < 0) or np.any(low > high) or np.any(high > [shard.rows for shard in self.shards]):
            raise QueryError(
                "ranges lie outside the index: use those that `whole`, `ranges` or `step` of this index gave"
            )
        return ranges
