"""BM25 search over shards of word counts, with the statistics of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from typing_extensions import override

from mnemodex.indexers.compiled import array_at, helper, kernel
from mnemodex.indexers.rows import ShardRows
from mnemodex.indexers.settings import BM25Settings
from mnemodex.indexers.words import as_written, split_words
from mnemodex.retrievers.base import Retriever
from mnemodex.retrievers.hits import MISSING_ID, MISSING_SCORE, Hits, Reason
from mnemodex.retrievers.word_shards import open_shards

if TYPE_CHECKING:
    from typing import Any

    from mnemodex.indexers.arrays import Array, Bools, Float32s, Floats, Int64s
    from mnemodex.indexers.words import Words
    from mnemodex.retrievers.memory import Memory
    from mnemodex.schemas.manifest import IndexEntry


_LEAST = np.float32(np.finfo(np.float32).smallest_subnormal)


class BM25Retriever(Retriever):
    """Searches the words of chunks; those with none of a question's words are no hits.

    Raises:
        OlderFormatError: the index is of a version that wrote scores instead of counts.
    """

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        self.name = entry.name
        self._memory = memory
        self._shards = open_shards(self.name, memory.snapshot.shards(entry))
        self._rows = ShardRows(self._shards.shards)
        # What tombstones leave out is taken off all statistics, and is no hit.
        self._left_out = open_shards(self.name, memory.snapshot.left_out(entry)) if entry.masked else None
        self._live = np.ones(0, np.bool_)
        if self._left_out is not None:
            mask = memory.snapshot.tombstones.mask
            self._live = ~np.concatenate([mask("chunk_id", np.asarray(own.ids)) for own in self._rows.shards])
        self._settings = settings = BM25Settings.model_validate(entry.settings)
        self._count = self._shards.rows - (self._left_out.rows if self._left_out is not None else 0)
        words = self._shards.words - (self._left_out.words if self._left_out is not None else 0)
        mean = max(words / max(self._count, 1), 1e-9)
        relative = settings.b * np.arange(self._shards.longest + 1) / mean
        self._norms = settings.k1 * (1 - settings.b + relative)

    @override
    def find(self, questions: list[str], k: int, where: str | None) -> Hits:
        allowed = None if where is None else self._memory.ids_where(where)
        asked = self._ask(questions)
        best = self._best(asked, k, allowed)
        order = np.lexsort((best.ids, -best.scores), axis=-1)
        numbers, scores = (np.take_along_axis(column, order, -1) for column in (best.numbers, best.scores))

        def explain(numbers: Int64s) -> list[list[list[Reason]]]:
            return [
                self._reasons(question, asked, number, row[row >= 0])
                for number, (question, row) in enumerate(zip(questions, numbers, strict=True))
            ]

        return Hits.at(self._memory.snapshot, self._rows, zip(numbers, scores, strict=True), k, explain=explain)

    def _ask(self, questions: list[str]) -> _Asked:
        words = split_words(questions, self._settings.tokenizer, self._settings.language)
        ranges = self._shards.find(words.names)
        holders = _sizes(ranges)
        if self._left_out is not None:
            holders -= _sizes(self._left_out.find(words.names))
        idf = np.log(1 + (self._count - holders + 0.5) / (holders + 0.5)).astype(np.float32)
        return _Asked(words, np.concatenate([[0], np.cumsum(words.lengths)]), idf, ranges)

    def _best(self, asked: _Asked, k: int, allowed: Int64s | None) -> _Best:
        """Return the best rows of each question."""
        kept = self._live
        if allowed is not None:
            kept = np.concatenate([np.ones(0, np.bool_), *(np.isin(rows.ids, allowed) for rows in self._rows.shards)])
        best = _Best.none((len(asked.offsets) - 1, k))
        _search(asked.words.ids, asked.offsets, asked.idf, asked.ranges, self._norms, self._shards.table, kept, best)
        return best

    def _reasons(self, question: str, asked: _Asked, number: int, rows: Int64s) -> list[list[Reason]]:
        """Return for each of a question's hits the words that it has, and what each adds to its score."""
        numbers, times = np.unique(asked.words.ids[slice(*asked.offsets[number : number + 2])], return_counts=True)
        shares = np.zeros((len(rows), len(numbers)), np.float32)
        for shard, (hits,), places in self._rows.by_shard(rows):
            arrays = self._shards.arrays[shard]
            for column, word in enumerate(numbers.tolist()):
                postings = slice(*asked.ranges[shard, word])
                documents, frequencies = (arrays[name][postings] for name in ("documents", "frequencies"))
                found = np.searchsorted(documents, places.astype(documents.dtype))
                has = found < len(documents)
                has[has] = documents[found[has]] == places[has]
                frequency = frequencies[found[has]]
                norms = self._norms[arrays["lengths"][places[has]]]
                shares[hits[has], column] = times[column] * asked.idf[word] * (frequency / (norms + frequency))
        written = as_written(question, self._settings.tokenizer, self._settings.language)
        names = [written.get(name, name) for name in asked.words.names.take(numbers).to_pylist()]
        return [
            [Reason("word", names[column], float(row[column])) for column in np.argsort(-row) if row[column] > 0]
            for row in shares
        ]


def _sizes(ranges: Int64s) -> Int64s:
    """Return how many postings of each word there are, given where they are in each shard."""
    sizes: Int64s = (ranges[..., 1] - ranges[..., 0]).sum(axis=0)
    return sizes


class _Asked(NamedTuple):
    """The words of some questions as the kernels take them, see `_search`."""

    words: Words
    offsets: Int64s
    idf: Float32s
    ranges: Int64s


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
def _search(  # noqa: PLR0913, PLR0917 - numba takes no keyword-only arguments
    words: Int64s,
    offsets: Int64s,
    idf: Float32s,
    ranges: Int64s,
    norms: Floats,
    shards: Array,
    allowed: Bools,
    best: _Best,
) -> None:
    """Put the best rows of all shards into `best`.

    Args:
        words: of question i, the elements `offsets[i]:offsets[i + 1]`, as places in `idf` and `ranges`.
        offsets: of the questions, of shape (questions + 1,).
        idf: of each word.
        ranges: where the postings of each word begin and end in each shard, of shape (shards, words, 2).
        norms: k1 * (1 - b + b * length / mean length) of each length.
        shards: their table.
        allowed: the rows of all shards that may be hits; empty where all of them may.
        best: places of shape (questions, k).
    """
    first = 0
    for number in range(len(shards)):
        shard = shards[number]
        kept = allowed[first : first + shard.rows]
        if not len(allowed) or kept.any():
            _search_shard(words, offsets, idf, ranges[number], norms, shard, first, kept, best)
        first += shard.rows


@helper
def _search_shard(  # noqa: PLR0913, PLR0917 - numba takes no keyword-only arguments
    words: Int64s,
    offsets: Int64s,
    idf: Float32s,
    ranges: Int64s,
    norms: Floats,
    shard: Any,
    first: int,
    kept: Bools,
    best: _Best,
) -> None:
    postings = array_at(shard.indptr, shard.words + 1, np.int64)[shard.words]
    documents = array_at(shard.documents, postings, np.int32)
    frequencies = array_at(shard.frequencies, postings, np.int32)
    lengths = array_at(shard.lengths, shard.rows, np.int32)
    ids = array_at(shard.ids, shard.rows, np.int64)
    scores = np.empty(shard.rows, np.float32)
    for question in range(len(offsets) - 1):
        scores[:] = 0
        for word in words[offsets[question] : offsets[question + 1]]:
            weight = idf[word]
            for posting in range(ranges[word, 0], ranges[word, 1]):
                row, frequency = documents[posting], frequencies[posting]
                scores[row] += np.float32(weight * (frequency / (norms[lengths[row]] + frequency)))
        heap = _Best(best.scores[question], best.ids[question], best.numbers[question])
        worst, worst_id = heap.scores[0], heap.ids[0]
        # Rows without any of the words score 0.
        for row in np.flatnonzero(scores >= max(worst, _LEAST)):
            if _worse(worst, worst_id, scores[row], ids[row]) and (not len(kept) or kept[row]):
                _replace_worst(heap, scores[row], ids[row], first + row)
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
