"""BM25 search over shards of word counts, with the statistics of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from typing_extensions import override

from mnemodex.indexers.arrays import check_arrays, check_offsets, check_places, open_arrays
from mnemodex.indexers.compiled import array_at, helper, kernel
from mnemodex.indexers.rows import Rows, ShardRows
from mnemodex.indexers.settings import BM25Settings
from mnemodex.indexers.words import split_words
from mnemodex.retrievers.base import Retriever, check
from mnemodex.retrievers.hits import MISSING_ID, MISSING_SCORE, Hits
from mnemodex.schemas.errors import OlderFormatError
from mnemodex.schemas.store.columns import spelling

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    import pyarrow as pa

    from mnemodex.indexers.arrays import Array, Bools, Float32s, Floats, Int64s, Uint8s
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
        folders = memory.snapshot.shards(entry)
        self._rows = ShardRows([Rows.open(folder) for folder in folders])
        self._shards = _Shards(
            [_open(self.name, folder, len(own.ids)) for folder, own in zip(folders, self._rows.shards, strict=True)],
            self._rows.shards,
        )
        self._settings = settings = BM25Settings.model_validate(entry.settings)
        mean = max(self._shards.words / max(self._shards.rows, 1), 1e-9)
        relative = settings.b * np.arange(self._shards.longest + 1) / mean
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
        words = split_words(questions, self._settings.tokenizer, self._settings.language)
        offsets = np.concatenate([[0], np.cumsum(words.lengths)])
        ranges = self._shards.find(words.names)
        holders = (ranges[..., 1] - ranges[..., 0]).sum(axis=0)
        idf = np.log(1 + (self._shards.rows - holders + 0.5) / (holders + 0.5)).astype(np.float32)
        kept = np.ones(0, np.bool_)
        if allowed is not None:
            kept = np.concatenate([kept, *(np.isin(rows.ids, allowed) for rows in self._rows.shards)])
        best = _Best.none((len(questions), k))
        _search(words.ids, offsets, idf, ranges, self._norms, self._shards.table, kept, best)
        return best


_LONGEST = 1 << 26
"""Words of a row, for each number of which there is a norm."""

_FILES = {
    "word_bytes": np.uint8,
    "word_offsets": np.int64,
    "indptr": np.int64,
    "documents": np.int32,
    "frequencies": np.int32,
    "lengths": np.int32,
}
"""The arrays of a shard; see `WordCounts`. Word i is the bytes `word_offsets[i]:word_offsets[i + 1]`."""


def _open(index: str, folder: Path, rows: int) -> dict[str, Array]:
    try:
        arrays = dict(zip(_FILES, open_arrays(folder, **_FILES), strict=True))
    except FileNotFoundError as error:
        raise OlderFormatError(
            f"index {index!r}: a former version made its files; run `mnemodex build` with the recipe, which counts the "
            "words again and computes nothing else"
        ) from error
    agree = (
        len(arrays["word_offsets"]) == len(arrays["indptr"])
        and len(arrays["documents"]) == len(arrays["frequencies"])
        and len(arrays["lengths"]) == rows
    )
    check_arrays(agree, folder, "the arrays of words and their counts")
    check_offsets(arrays["word_offsets"], len(arrays["word_bytes"]), folder, "word_offsets")
    check_offsets(arrays["indptr"], len(arrays["documents"]), folder, "indptr")
    check_places(arrays["documents"], rows, folder, "documents")
    check_places(arrays["lengths"], _LONGEST, folder, "lengths")
    return arrays


class _Shards:
    """All shards of an index, for kernels, by their arrays and rows: one call of kernels takes less time than a shard.

    Attributes:
        table: addresses of the arrays of each shard and of its ids, and how many words and rows it has.
        rows: of all shards.
        words: of all rows.
        longest: words of the longest row.
    """

    def __init__(self, arrays: list[dict[str, Array]], rows: list[Rows]) -> None:
        # The addresses are good as long as the arrays are kept.
        self._arrays = [shard | {"ids": own.ids} for shard, own in zip(arrays, rows, strict=True)]
        lengths = [shard["lengths"] for shard in arrays]
        self.rows = sum(map(len, lengths))
        self.words = sum(int(column.sum()) for column in lengths)
        self.longest = max((int(column.max(initial=0)) for column in lengths), default=0)
        self.table = np.zeros(len(arrays), [(name, np.int64) for name in (*_FILES, "ids", "words", "rows")])
        for entry, shard in zip(self.table, self._arrays, strict=True):
            for name, array in shard.items():
                entry[name] = array.ctypes.data
            entry["words"], entry["rows"] = len(shard["indptr"]) - 1, len(shard["lengths"])

    def find(self, words: pa.StringArray) -> Int64s:
        """Return where the postings of words begin and end in each shard, of shape (shards, words, 2)."""
        ranges = np.zeros((len(self.table), len(words), 2), np.int64)
        _find(*spelling(words), self.table, ranges)
        return ranges


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
def _find(letters: Uint8s, offsets: Int64s, shards: Array, ranges: Int64s) -> None:
    """Look words up; `ranges`, of shape (shards, words, 2), are left as they are where a shard has no such word."""
    for number in range(len(shards)):
        shard = shards[number]
        indptr = array_at(shard.indptr, shard.words + 1, np.int64)
        places = array_at(shard.word_offsets, shard.words + 1, np.int64)
        spelled = array_at(shard.word_bytes, places[shard.words], np.uint8)
        for word in range(ranges.shape[1]):
            wanted = letters[offsets[word] : offsets[word + 1]]
            low, high = 0, shard.words
            while low < high:
                middle = (low + high) // 2
                order = _compare(spelled[places[middle] : places[middle + 1]], wanted)
                if order == 0:
                    ranges[number, word, 0], ranges[number, word, 1] = indptr[middle], indptr[middle + 1]
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
