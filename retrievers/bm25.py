"""BM25 search over shards of word counts, with the statistics of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from typing_extensions import override

from mnemodex.indexers.bm25 import BM25Settings, WordCounts, tokenize
from mnemodex.indexers.compiled import helper, kernel
from mnemodex.indexers.rows import Rows
from mnemodex.retrievers.base import Retriever, check
from mnemodex.retrievers.hits import MISSING_ID, MISSING_SCORE, Hits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Bools, Float32s, Floats, Int32s, Int64s
    from mnemodex.retrievers.memory import Memory
    from mnemodex.schemas.manifest import IndexEntry


class BM25Retriever(Retriever):
    """Searches the words of chunks. Chunks with none of a question's words score 0 and come last, by id."""

    no_match: ClassVar[float | None] = 0.0

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        self.name = entry.name
        self._memory = memory
        folders = memory.snapshot.shards(entry)
        self._rows = [Rows.open(folder) for folder in folders]
        self._counts = [WordCounts.open(folder) for folder in folders]
        self._documents = sum(len(shard.lengths) for shard in self._counts)
        words = sum(int(shard.lengths.sum()) for shard in self._counts)
        longest = max((int(shard.lengths.max(initial=0)) for shard in self._counts), default=0)
        settings = BM25Settings.model_validate(entry.settings)
        relative = settings.b * np.arange(longest + 1) / max(words / max(self._documents, 1), 1e-9)
        self._norms = settings.k1 * (1 - settings.b + relative)

    @override
    def search(self, queries: Sequence[str], k: int = 10, *, where: str | None = None) -> Hits:
        questions = check(queries, k)
        allowed = None if where is None else self._memory.ids_where(where)
        best = self._best(questions, k, allowed)
        order = np.lexsort((best.ids, -best.scores), axis=-1)
        numbers, scores = (np.take_along_axis(column, order, -1) for column in (best.numbers, best.scores))
        return Hits.at(self._memory.snapshot, self._rows, zip(numbers, scores, strict=True), k)

    def _best(self, questions: list[str], k: int, allowed: Int64s | None) -> _Best:
        """Return the best rows of each question."""
        texts, vocabulary = tokenize(questions) if questions else ([], {})
        words = np.array([word for text in texts for word in text], np.int64)
        offsets = np.cumsum([0, *map(len, texts)])
        names = sorted(vocabulary, key=vocabulary.__getitem__)
        ranges = [shard.find(names) for shard in self._counts]
        idf = self._idf(sum((np.diff(found)[:, 0] for found in ranges), np.zeros(len(names), np.int64)))
        best = _Best.none((len(questions), k))
        first = 0
        for counts, found, rows in zip(self._counts, ranges, self._rows, strict=True):
            kept = np.ones(0, np.bool_) if allowed is None else np.isin(rows.ids, allowed)
            if allowed is None or kept.any():
                shard = _Shard(found, counts.documents, counts.frequencies, counts.lengths, rows.ids, kept)
                _search(words, offsets, idf, self._norms, shard, first, best)
            first += len(rows.ids)
        return best

    def _idf(self, holders: Int64s) -> Float32s:
        """Return the weight of words that so many documents hold."""
        weights: Float32s = np.log(1 + (self._documents - holders + 0.5) / (holders + 0.5)).astype(np.float32)
        return weights


class _Shard(NamedTuple):
    """What a search reads of a shard.

    Attributes:
        ranges: where the postings of each of the questions' words begin and end, int64 of shape (words, 2).
        documents: rows of the postings, int32 of shape (postings,).
        frequencies: int32 of shape (postings,).
        lengths: of the rows, in words, int32 of shape (rows,).
        ids: of the rows, int64 of shape (rows,).
        allowed: the rows that may be hits, of shape (rows,); empty where all of them may.
    """

    ranges: Int64s
    documents: Int32s
    frequencies: Int32s
    lengths: Int32s
    ids: Int64s
    allowed: Bools


class _Best(NamedTuple):
    """The best rows so far, arrays of shape (questions, k); those of a question are a heap with the worst row first."""

    scores: Float32s
    ids: Int64s
    numbers: Int64s

    @classmethod
    def none(cls, shape: tuple[int, int]) -> _Best:
        """Return places for rows, which are worse than any row."""
        ids = np.full(shape, np.iinfo(np.int64).max)
        return cls(np.full(shape, MISSING_SCORE, np.float32), ids, np.full(shape, MISSING_ID, np.int64))


@kernel
def _search(
    words: Int64s, offsets: Int64s, idf: Float32s, norms: Floats, shard: _Shard, first: int, best: _Best
) -> None:
    """Put the rows of a shard among the best rows of each question.

    Args:
        words: of question i, the elements `offsets[i]:offsets[i + 1]`, as rows of `idf` and `shard.ranges`.
        offsets: of the questions, of shape (questions + 1,).
        idf: of each word.
        norms: k1 * (1 - b + b * length / mean length) of each length.
        shard: what is searched.
        first: number of its first row in the index.
        best: the best rows of the shards before it.
    """
    scores = np.zeros(len(shard.lengths), np.float32)
    for question in range(len(offsets) - 1):
        for word in words[offsets[question] : offsets[question + 1]]:
            for posting in range(shard.ranges[word, 0], shard.ranges[word, 1]):
                row, frequency = shard.documents[posting], np.float64(shard.frequencies[posting])
                scores[row] += np.float32(idf[word] * (frequency / (norms[shard.lengths[row]] + frequency)))
        heap = _Best(best.scores[question], best.ids[question], best.numbers[question])
        for row in range(len(scores)):
            score, number = scores[row], shard.ids[row]
            scores[row] = 0
            if _worse(heap, 0, score, number) and (not len(shard.allowed) or shard.allowed[row]):
                _replace_worst(heap, score, number, first + row)


@helper
def _replace_worst(heap: _Best, score: np.float32, number: int, row: int) -> None:
    """Put a row in the place of the first one of a heap, and restore its order."""
    place, child = 0, 1
    while child < len(heap.scores):
        if child + 1 < len(heap.scores) and _worse(heap, child + 1, heap.scores[child], heap.ids[child]):
            child += 1
        if not _worse(heap, child, score, number):
            break
        _put(heap, place, heap.scores[child], heap.ids[child], heap.numbers[child])
        place, child = child, 2 * child + 1
    _put(heap, place, score, number, row)


@helper
def _put(heap: _Best, place: int, score: np.float32, number: int, row: int) -> None:
    heap.scores[place], heap.ids[place], heap.numbers[place] = score, number, row


@helper
def _worse(heap: _Best, place: int, score: np.float32, number: int) -> bool:
    """Whether a row of a heap comes after a score and an id among hits."""
    other = heap.scores[place]
    return bool(other < score or (other == score and heap.ids[place] > number))
