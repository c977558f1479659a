"""BM25 (Lucene's variant; Kamphuis et al., 2020) in bm25s's file format, built from shards with global statistics."""

from __future__ import annotations

import json
import unicodedata
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from mnemodex.indexers.arrays import Float32s, Int32s, Int64s, open_arrays, save_arrays
from mnemodex.indexers.base import Indexer, IndexStats
from mnemodex.indexers.rows import Rows
from mnemodex.indexers.text import passages
from mnemodex.schemas.recipe import IndexSettings
from mnemodex.schemas.spec import ReadBy
from mnemodex.schemas.store import parquet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.indexers.base import InputPartition

_BLOCK = 1 << 20
"""Postings that are scored at a time."""


class BM25Settings(IndexSettings):
    """Settings of a BM25 index.

    Attributes:
        k1: how fast repeated words saturate.
        b: how much long chunks are discounted.
        with_title: whether the title is searched too.
    """

    type: Literal["bm25"] = "bm25"
    k1: Annotated[float, ReadBy("merge")] = Field(default=1.2, ge=0)
    b: Annotated[float, ReadBy("merge")] = Field(default=0.75, ge=0, le=1)
    with_title: Annotated[bool, ReadBy("build")] = True


def tokenize(texts: Sequence[str]) -> tuple[list[list[int]], dict[str, int]]:
    """Return the word ids of each text, and the ids of the words.

    Words are of two or more letters or digits, in lower case, stemmed by Snowball, without accents. The stop words,
    which are left out, are Lucene's and the common question words and auxiliaries ("english_plus" in bm25s).
    """
    import bm25s
    import Stemmer

    # Latin, Greek and Cyrillic accents go; the marks of other scripts make other letters and stay.
    decomposed = pc.utf8_normalize(pa.array(texts, pa.string()), "NFKD")
    folded = pc.utf8_normalize(pc.replace_substring_regex(decomposed, "[\u0300-\u036f]+", ""), "NFC").to_pylist()
    stemmer = Stemmer.Stemmer("english")
    result = bm25s.tokenize(
        folded, token_pattern=_words(), stopwords="english_plus", stemmer=stemmer, show_progress=False, return_ids=True
    )
    return result.ids, result.vocab


@lru_cache(maxsize=1)
def _words() -> str:
    # The vowel signs of Indic scripts are marks, which Python's `\w` leaves out: words would fall into single letters.
    marks = "".join(mark for mark in map(chr, range(0x370, 0x20000)) if unicodedata.category(mark) in {"Mn", "Mc"})
    return rf"\w[\w{marks}]+"


class BM25Indexer(Indexer):
    """Counts words a shard, then merges the counts into scores: any number of shards gives the scores of one index."""

    version: ClassVar[int] = 1
    settings: BM25Settings
    merges = True
    # A shard a partition: a source that grew has only its new partitions counted.
    shard_rows = 1

    def build(self, partitions: list[InputPartition], out: Path) -> IndexStats:
        """Count the words of some chunk partitions, partition by partition.

        It writes a word-by-chunk matrix of counts by columns (`indptr`, `documents`, `frequencies`), the chunks'
        `lengths` in words, `words.json`, sorted, and the rows.
        """
        _merge_counts([_count(part, with_title=self.settings.with_title) for part in partitions]).save(out)
        rows = Rows.of(partitions)
        rows.save(out)
        return IndexStats(rows=len(rows.ids))

    def merge(self, shards: list[Path], out: Path) -> IndexStats:
        """Turn the shards' counts into one matrix of scores, with the statistics of all of them.

        Memory: 8 bytes a posting of the whole index, as bm25s needs to write it.
        """
        from bm25s import BM25

        counts = _merge_counts([_Counts.open(shard) for shard in shards])
        scores = _scores(counts, k1=self.settings.k1, b=self.settings.b)
        Rows.concatenate([Rows.open(shard) for shard in shards]).save(out)
        rows = len(counts.lengths)
        index = BM25(k1=self.settings.k1, b=self.settings.b, method="lucene")
        index.scores = {"data": scores, "indices": counts.documents, "indptr": counts.indptr, "num_docs": rows}
        index.vocab_dict = {word: number for number, word in enumerate(counts.words.to_pylist())}
        index.nonoccurrence_array = None
        index.save(out, show_progress=False)
        return IndexStats(rows=rows)


class _Counts(NamedTuple):
    """A sparse matrix of word counts by columns: one column a word, words sorted; and the words of each document."""

    words: pa.Array
    indptr: Int64s
    documents: Int32s
    frequencies: Int32s
    lengths: Int32s

    def save(self, out: Path) -> None:
        save_arrays(out, **{name: getattr(self, name) for name in self._fields[1:]})
        (out / "words.json").write_text(json.dumps(self.words.to_pylist()), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> _Counts:
        words = pa.array(json.loads((folder / "words.json").read_text(encoding="utf-8")), pa.string())
        return cls(words, *open_arrays(folder, *cls._fields[1:]))


def _count(part: InputPartition, *, with_title: bool) -> _Counts:
    chunks = parquet.read(part.files["parquet"], columns=["title", "text"])
    ids, vocabulary = tokenize(passages(chunks, with_title=with_title))
    lengths = np.fromiter(map(len, ids), np.int32, len(ids))
    words = np.fromiter(chain.from_iterable(ids), np.int64, int(lengths.sum()))
    documents = np.repeat(np.arange(len(ids), dtype=np.int64), lengths)
    names = pa.array(sorted(vocabulary, key=vocabulary.__getitem__), pa.string())
    order = pc.sort_indices(names).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    stride = max(len(ids), 1)
    pairs, frequencies = np.unique(rank[words] * stride + documents, return_counts=True)
    # The tokenizer knows an empty word that no text has; a word without a posting is dropped.
    present, sizes = np.unique(pairs // stride, return_counts=True)
    return _Counts(
        names.take(pa.array(order)).take(pa.array(present)),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        (pairs % stride).astype(np.int32),
        frequencies.astype(np.int32),
        lengths,
    )


def _merge_counts(parts: Sequence[_Counts]) -> _Counts:
    """Put matrices side by side: the union of their words, the rows of the second after those of the first."""
    words = pc.unique(pa.concat_arrays([pa.array([], pa.string()), *(part.words for part in parts)]))
    words = words.take(pc.sort_indices(words))
    columns = [pc.index_in(part.words, words).to_numpy(zero_copy_only=False).astype(np.int64) for part in parts]
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
    return _Counts(words, indptr, documents, frequencies, lengths)


def _scores(counts: _Counts, *, k1: float, b: float) -> Float32s:
    """Return each posting's BM25 score: idf * tf / (tf + k1 * (1 - b + b * length / mean length))."""
    total = len(counts.lengths)
    holders = np.diff(counts.indptr)
    idf = np.log(1 + (total - holders + 0.5) / (holders + 0.5)).astype(np.float32)
    mean = float(counts.lengths.mean()) if total else 1.0
    norm = k1 * (1 - b + b * counts.lengths / max(mean, 1e-9))
    scores = np.repeat(idf, holders)
    for start in range(0, len(scores), _BLOCK):
        block = slice(start, start + _BLOCK)
        frequency = counts.frequencies[block].astype(np.float64)
        scores[block] = scores[block] * (frequency / (norm[counts.documents[block]] + frequency))
    return scores
