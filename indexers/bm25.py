"""Counts of words in shards, for BM25 (Lucene's variant; Kamphuis et al., 2020): a shard a partition of chunks."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import override

from mnemodex.indexers.arrays import Int32s, Int64s, save_arrays
from mnemodex.indexers.base import Indexer, IndexStats
from mnemodex.indexers.rows import Rows
from mnemodex.indexers.text import passages
from mnemodex.indexers.words import split_words
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers, spelling

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.indexers.base import InputPartition
    from mnemodex.indexers.settings import BM25Settings
    from mnemodex.indexers.words import Words


class BM25Indexer(Indexer):
    """Counts words, a shard a partition: any number of shards is searched with the statistics of all of them."""

    version: ClassVar[int] = 4
    takes_off: ClassVar[bool] = True
    settings: BM25Settings
    # A source that grew has only its new partitions counted.
    shard_rows = 1

    @override
    def build_left_out(self, partition: InputPartition, out: Path) -> None:
        self.build([partition], out)

    def build(self, partitions: list[InputPartition], out: Path) -> IndexStats:
        """Count the words of some chunk partitions, and write the counts and the rows."""
        settings, files = self.settings, [part.files["parquet"] for part in partitions]
        batches = chain.from_iterable(parquet.read_batches(file, columns=["title", "text"]) for file in files)
        counts = (
            _count(split_words(passages(batch, with_title=settings.with_title), settings.tokenizer, settings.language))
            for batch in batches
        )
        _concatenate(list(counts)).save(out)
        rows = Rows.of(partitions)
        rows.save(out)
        return IndexStats(rows=len(rows.ids))


class WordCounts(NamedTuple):
    """A sparse matrix of word counts by columns: one column a word; and the words of each document.

    The postings of word i are the elements `indptr[i]:indptr[i + 1]` of `documents` and `frequencies`, by document.

    Attributes:
        words: in the order of their UTF-8, strings of shape (words,).
        indptr: int64 of shape (words + 1,).
        documents: numbers of documents, int32 of shape (postings,).
        frequencies: how often the word is in the document, int32 of shape (postings,).
        lengths: the sizes of the documents, see `Words`, int32 of shape (documents,).
    """

    words: pa.StringArray
    indptr: Int64s
    documents: Int32s
    frequencies: Int32s
    lengths: Int32s

    def save(self, out: Path) -> None:
        """Write the arrays into a folder; of the words, their bytes and where each begins."""
        arrays = {name: getattr(self, name) for name in self._fields[1:]}
        arrays["word_bytes"], arrays["word_offsets"] = spelling(self.words)
        save_arrays(out, **arrays)


def _count(words: Words) -> WordCounts:
    order = pc.sort_indices(words.names)
    rank = np.empty(len(order), np.int64)
    rank[numbers(order)] = np.arange(len(order))
    stride = max(len(words.lengths), 1)
    documents = np.repeat(np.arange(len(words.lengths)), words.lengths)
    pairs, frequencies = np.unique(rank[words.ids] * stride + documents, return_counts=True)
    sizes = np.bincount(pairs // stride, minlength=len(order))
    return WordCounts(
        words.names.take(order),
        np.concatenate([[0], np.cumsum(sizes)]),
        (pairs % stride).astype(np.int32),
        frequencies.astype(np.int32),
        words.sizes,
    )


def _concatenate(parts: Sequence[WordCounts]) -> WordCounts:
    """Put matrices side by side: the union of their words, the rows of the second after those of the first."""
    words = pc.unique(pa.concat_arrays([pa.nulls(0, pa.string()), *(part.words for part in parts)]))
    words = words.take(pc.sort_indices(words))
    columns = [numbers(pc.index_in(part.words, words)).astype(np.int64) for part in parts]
    sizes = np.zeros(len(words), np.int64)
    for part, column in zip(parts, columns, strict=True):
        sizes[column] += np.diff(part.indptr)
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    documents = np.empty(indptr[-1], np.int32)
    frequencies = np.empty(indptr[-1], np.int32)
    free = indptr[:-1].copy()
    before = 0
    for part, column in zip(parts, columns, strict=True):
        own = np.diff(part.indptr)
        target = np.repeat(free[column] - part.indptr[:-1], own) + np.arange(part.indptr[-1])
        documents[target] = part.documents + np.int32(before)
        frequencies[target] = part.frequencies
        free[column] += own
        before += len(part.lengths)
    lengths = np.concatenate([np.zeros(0, np.int32), *(part.lengths for part in parts)])
    return WordCounts(words, indptr, documents, frequencies, lengths)
