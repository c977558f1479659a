"""BM25 search over shards of word counts, with the statistics of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from typing_extensions import override

from mnemodex.indexers.arrays import open_arrays
from mnemodex.indexers.bm25 import BM25Settings, spelling
from mnemodex.indexers.compiled import helper, kernel
from mnemodex.indexers.rows import Rows
from mnemodex.indexers.words import split_words
from mnemodex.retrievers.base import Retriever, check
from mnemodex.retrievers.hits import MISSING_ID, MISSING_SCORE, Hits
from mnemodex.schemas.errors import OlderFormatError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import pyarrow as pa

    from mnemodex.indexers.arrays import Bools, Float32s, Floats, Int32s, Int64s, Uint8s
    from mnemodex.retrievers.memory import Memory
    from mnemodex.schemas.manifest import IndexEntry


class BM25Retriever(Retriever):
    """Searches the words of chunks. Chunks with none of a question's words score 0 and come last, by id.

    Raises:
        OlderFormatError: the index is of a version that wrote scores instead of counts.
    """

    no_match: ClassVar[float | None] = 0.0

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        self.name = entry.name
        self._memory = memory
        folders = memory.snapshot.shards(entry)
        self._rows = [Rows.open(folder) for folder in folders]
        try:
            self._shards = [_Counts(*open_arrays(folder, *_Counts._fields)) for folder in folders]
        except FileNotFoundError as error:
            raise OlderFormatError(
                f"index {self.name!r}: a former version made its files; run `mnemodex build` with the recipe, which "
                "counts the words again and computes nothing else"
            ) from error
        self._documents = sum(len(shard.lengths) for shard in self._shards)
        words = sum(int(shard.lengths.sum()) for shard in self._shards)
        longest = max((int(shard.lengths.max(initial=0)) for shard in self._shards), default=0)
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
        words = split_words(questions)
        offsets = np.concatenate([[0], np.cumsum(words.lengths)])
        ranges = self._ranges(words.names)
        holders = (ranges[..., 1] - ranges[..., 0]).sum(axis=0)
        idf = np.log(1 + (self._documents - holders + 0.5) / (holders + 0.5)).astype(np.float32)
        best = _Best.none((len(questions), k))
        first, everything = 0, np.ones(0, np.bool_)
        for shard, postings, rows in zip(self._shards, ranges, self._rows, strict=True):
            kept = everything if allowed is None else np.isin(rows.ids, allowed)
            if allowed is None or kept.any():
                _search(words.ids, offsets, idf, postings, self._norms, shard, _Kept(rows.ids, kept, first), best)
            first += len(rows.ids)
        return best

    def _ranges(self, words: pa.StringArray) -> Int64s:
        """Return where the postings of words begin and end in each shard, of shape (shards, words, 2)."""
        letters, offsets = spelling(words)
        ranges = np.zeros((len(self._shards), len(words), 2), np.int64)
        for shard, postings in zip(self._shards, ranges, strict=True):
            _find(letters, offsets, shard, postings)
        return ranges


class _Counts(NamedTuple):
    """The files of a shard; see `WordCounts`. Word i is the bytes `word_offsets[i]:word_offsets[i + 1]`."""

    word_bytes: Uint8s
    word_offsets: Int64s
    indptr: Int64s
    documents: Int32s
    frequencies: Int32s
    lengths: Int32s


class _Kept(NamedTuple):
    """The rows of a shard that may be hits.

    Attributes:
        ids: of all rows, int64 of shape (rows,).
        allowed: whether each may be a hit; empty where all of them may.
        first: number of the first row in the index.
    """

    ids: Int64s
    allowed: Bools
    first: int


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
def _find(letters: Uint8s, offsets: Int64s, shard: _Counts, ranges: Int64s) -> None:
    """Look words up; `ranges`, of shape (words, 2), are left as they are for words that the shard does not have."""
    for word in range(len(ranges)):
        wanted = letters[offsets[word] : offsets[word + 1]]
        low, high = 0, len(shard.indptr) - 1
        while low < high:
            middle = (low + high) // 2
            found = shard.word_bytes[shard.word_offsets[middle] : shard.word_offsets[middle + 1]]
            order = _compare(found, wanted)
            if order == 0:
                ranges[word, 0], ranges[word, 1] = shard.indptr[middle], shard.indptr[middle + 1]
                break
            if order < 0:
                low = middle + 1
            else:
                high = middle


@helper
def _compare(one: Uint8s, other: Uint8s) -> int:
    """Return a negative number where one word comes before another, 0 where they are equal."""
    for place in range(min(len(one), len(other))):
        if one[place] != other[place]:
            return -1 if one[place] < other[place] else 1
    return len(one) - len(other)


@kernel
def _search(  # noqa: PLR0913, PLR0917 - numba takes no keyword-only arguments
    words: Int64s,
    offsets: Int64s,
    idf: Float32s,
    ranges: Int64s,
    norms: Floats,
    shard: _Counts,
    kept: _Kept,
    best: _Best,
) -> None:
    """Put the rows of a shard among the best rows of each question.

    Args:
        words: of question i, the elements `offsets[i]:offsets[i + 1]`, as rows of `idf` and `ranges`.
        offsets: of the questions, of shape (questions + 1,).
        idf: of each word.
        ranges: where its postings begin and end in the shard, of shape (words, 2).
        norms: k1 * (1 - b + b * length / mean length) of each length.
        shard: what is searched.
        kept: its rows.
        best: the best rows of the shards before it.
    """
    documents, frequencies, lengths = shard.documents, shard.frequencies, shard.lengths
    ids, allowed = kept.ids, kept.allowed
    scores = np.empty(len(lengths), np.float32)
    for question in range(len(offsets) - 1):
        scores[:] = 0
        for word in words[offsets[question] : offsets[question + 1]]:
            weight = idf[word]
            for posting in range(ranges[word, 0], ranges[word, 1]):
                row, frequency = documents[posting], frequencies[posting]
                scores[row] += np.float32(weight * (frequency / (norms[lengths[row]] + frequency)))
        heap = _Best(best.scores[question], best.ids[question], best.numbers[question])
        worst, worst_id = heap.scores[0], heap.ids[0]
        for row in np.flatnonzero(scores >= worst):
            score = scores[row]
            better = _worse(worst, worst_id, score, ids[row])
            if better and (not len(allowed) or allowed[row]):
                _replace_worst(heap, score, ids[row], kept.first + row)
                worst, worst_id = heap.scores[0], heap.ids[0]


@helper
def _replace_worst(heap: _Best, score: np.float32, number: np.integer[Any], row: np.integer[Any]) -> None:
    """Put a row in the place of the first one of a heap, and restore its order."""
    scores, ids, numbers = heap
    place, child = 0, 1
    while child < len(scores):
        other = child + 1
        if other < len(scores) and _worse(scores[other], ids[other], scores[child], ids[child]):
            child = other
        if not _worse(scores[child], ids[child], score, number):
            break
        scores[place], ids[place], numbers[place] = scores[child], ids[child], numbers[child]
        place, child = child, 2 * child + 1
    scores[place], ids[place], numbers[place] = score, number, row


@helper
def _worse(score: np.float32, number: np.integer[Any], other: np.float32, other_number: np.integer[Any]) -> bool:
    """Whether a row comes after another one among hits, given their scores and ids."""
    return bool(score < other or (score == other and number > other_number))
