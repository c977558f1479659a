"""The shards of a BM25 index: counts of words, for kernels and by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.arrays import check_arrays, check_offsets, check_places, open_arrays
from mnemodex.indexers.compiled import array_at, helper, kernel
from mnemodex.indexers.rows import Rows
from mnemodex.schemas.errors import OlderFormatError
from mnemodex.schemas.store.columns import spelling

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

    from mnemodex.indexers.arrays import Array, Int64s, Uint8s

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


def open_counts(index: str, folder: Path, rows: int) -> dict[str, Array]:
    """Map the arrays of a shard with so many rows, checked; one without them is an `OlderFormatError`."""
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


def open_shards(index: str, folders: Sequence[Path]) -> WordShards:
    """Map some shards of an index, checked."""
    rows = [Rows.open(folder) for folder in folders]
    return WordShards([open_counts(index, path, len(own.ids)) for path, own in zip(folders, rows, strict=True)], rows)


class WordShards:
    """All shards of an index, for kernels, by their arrays and rows: one call of kernels takes less time than a shard.

    Attributes:
        arrays: of each shard, by name.
        table: addresses of the arrays of each shard and of its ids, and how many words and rows it has.
        shards: the rows of each shard.
        rows: of all shards.
        words: of all rows.
        longest: words of the longest row.
    """

    def __init__(self, arrays: list[dict[str, Array]], rows: list[Rows]) -> None:
        self.shards = rows
        # The addresses are good as long as the arrays are kept.
        self.arrays = [shard | {"ids": own.ids} for shard, own in zip(arrays, rows, strict=True)]
        lengths = [shard["lengths"] for shard in arrays]
        self.rows = sum(map(len, lengths))
        self.words = sum(int(column.sum()) for column in lengths)
        self.longest = max((int(column.max(initial=0)) for column in lengths), default=0)
        self.table = np.zeros(len(arrays), [(name, np.int64) for name in (*_FILES, "ids", "words", "rows")])
        for entry, shard in zip(self.table, self.arrays, strict=True):
            for name, array in shard.items():
                entry[name] = array.ctypes.data
            entry["words"], entry["rows"] = len(shard["indptr"]) - 1, len(shard["lengths"])

    def find(self, words: pa.StringArray) -> Int64s:
        """Return where the postings of words begin and end in each shard, of shape (shards, words, 2)."""
        ranges = np.zeros((len(self.table), len(words), 2), np.int64)
        _find(*spelling(words), self.table, ranges)
        return ranges


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
