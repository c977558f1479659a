"""One field of one shard: an FM-index opened by mmap, asked in symbols and answering in its own rows and documents.

Its files are flat `.npy` arrays, and one small JSON that says what they must be.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mnemodex.indexers.arrays import UNREADABLE, check_places
from mnemodex.indexers.ngram.ragged import LARGEST_TOKEN, spans
from mnemodex.schemas.errors import CorruptFileError, NewerFormatError, reason

if TYPE_CHECKING:
    from pathlib import Path

    from mnemodex.indexers.arrays import Array, Int32s, Int64s, Uint32s, Uint64s
    from mnemodex.indexers.ngram.tree import Tree


class Places(NamedTuple):
    """The arrays of an `FMShard` that lead from rows to places and documents; `documents` may be absent."""

    borders: Int64s
    marks: Uint64s
    samples: Uint32s
    documents: Uint64s | None
    width: int


FORMAT = 1
DESCRIPTION = "shard.json"
_TYPES = {
    **dict.fromkeys(("vocabulary", "leaf_of"), np.int32),
    **dict.fromkeys(("leaves", "levels", "borders"), np.int64),
    **dict.fromkeys(("bits", "marks", "documents"), np.uint64),
    "samples": np.uint32,
}
_STATS = ("rows", "documents", "tokens", "sample_rate", "document_bits", "vocabulary_sha256")

_sound: set[tuple[tuple[Path, int, int, int], ...]] = set()
"""The files of shards that were checked, each with its size, time and inode."""


class FMShard:
    """An FM-index over the documents of one shard, in a field's folder of a shard that `build` wrote.

    Rows are the suffixes of the reversed stream in their order, as many as tokens and documents together; a range [low,
    high) of them is all occurrences of one n-gram, and the ranges of a batch are an int64 array of shape (queries, 2).
    A place is a position in the stream, where a separator comes before every document.

    Raises:
        CorruptFileError: a file is missing, cut short, or not what the description says.
        NewerFormatError: a newer version wrote the shard.
    """

    def __init__(self, folder: Path) -> None:
        description = read_description(folder)
        self.rows = int(description["rows"])
        self.documents = int(description["documents"])
        self.tokens = int(description["tokens"])
        self.vocabulary_sha256 = str(description["vocabulary_sha256"])
        self._width = int(description["document_bits"])

        def mapped(name: str) -> Array:
            array = open_array(folder, name, description)
            if array.dtype != _TYPES[name]:
                raise CorruptFileError(f"{folder}: {name} is {array.dtype}; build the shard again")
            return array

        self.vocabulary: Int32s = mapped("vocabulary")
        check_places(self.vocabulary, LARGEST_TOKEN + 1, folder, "vocabulary")
        self._leaves: Int64s = mapped("leaves")
        self._leaf_of: Int32s = mapped("leaf_of")
        self._tree: Tree = (mapped("bits"), mapped("levels"), self._leaves, self._leaf_of)
        self._borders: Int64s = mapped("borders")
        self._marks, self._samples = mapped("marks"), mapped("samples")
        self._documents = mapped("documents") if self._width else None
        self._folder, self._rate = folder, int(description["sample_rate"])
        self._check()

    def _check(self) -> None:
        """Refuse what would lead a kernel out of the arrays, once a process while the files stay as they are."""
        from mnemodex.indexers.ngram.soundness import find_fault

        states = [(path, path.stat()) for path in sorted(self._folder.iterdir())]
        seen = tuple((path, state.st_size, state.st_ctime_ns, state.st_ino) for path, state in states)
        if seen in _sound:
            return
        fault = find_fault(
            self._tree,
            Places(self._borders, self._marks, self._samples, self._documents, self._width),
            (self.rows, self.documents, self.tokens),
            len(self.vocabulary),
        )
        if fault:
            raise CorruptFileError(f"{self._folder}: {fault}; build the shard again")
        _sound.add(seen)

    @property
    def separators(self) -> tuple[int, int]:
        """The rows of the separators, one before every document."""
        from mnemodex.indexers.ngram.tree import START

        leaf = self._leaf_of[-1]
        return int(self._leaves[leaf, START]), int(self._leaves[leaf + 1, START])

    def extend(self, ranges: Int64s, symbols: Int32s, offsets: Int64s) -> None:
        """Replace ranges by those after n-grams, of int32 symbols and int64 offsets; empty ranges become (0, 0)."""
        from mnemodex.indexers.ngram.search import extend

        extend(self._tree, ranges, symbols, offsets)

    def room(self, ranges: Int64s) -> Int64s:
        """Return the most continuations that each range can have: int64 array of shape (queries,)."""
        room: Int64s = np.minimum(ranges[:, 1] - ranges[:, 0], len(self._leaves))
        return room

    def continuations(self, ranges: Int64s) -> Int64s:
        """Find what follows ranges, but for ends of documents: int64 rows of query, symbol and count, in no order."""
        from mnemodex.indexers.ngram.tally import continuations_of

        room = int(self.room(ranges).sum())
        rows = np.empty((room, 3), dtype=np.int64)
        nodes = np.empty((2, room, 4), dtype=np.int64)
        return rows[: continuations_of(self._tree, ranges, nodes, rows, len(self._leaf_of) - 1)]

    def locate(self, ranges: Int64s, limits: Int64s) -> tuple[Int64s, Int64s, Int64s]:
        """Find the first occurrences of ranges in the order of the stream, at most `limits` of each.

        Return how many there are of each query; and for all queries one after the other the document, and the offset in
        it of the n-gram's last token; int64 arrays.
        """
        rows, counts = self._rows_to_walk(ranges, limits)
        self._walk(rows)
        # One sort orders all queries: the query is the higher part of the key.
        base = np.arange(len(ranges), dtype=np.int64) * self.rows
        ordered = np.sort(rows + np.repeat(base, counts)) - np.repeat(base, counts)
        limited = np.minimum(counts, limits)
        places = ordered[spans(np.cumsum(counts) - counts, limited)]
        documents = np.searchsorted(self._borders, places, side="right") - 1
        return limited, documents, places - self._borders[documents] - 1

    def count_documents(self, ranges: Int64s) -> tuple[Int64s, Int64s, Int64s]:
        """Find the documents of ranges.

        Return how many each query has; and for all queries one after the other the documents, ascending, and how often
        the n-gram occurs in each; int64 arrays.
        """
        return self._count_distinct(self._documents_of(ranges), ranges)

    def lengths(self, documents: Int64s) -> Int64s:
        """Return the tokens of documents: int64 array of shape (documents,)."""
        return self._borders[documents + 1] - self._borders[documents] - 1

    def read(self, documents: Int64s, starts: Int64s, symbols: Int32s) -> None:
        """Write the symbols of documents into `symbols`, each from where `starts` says, int64 of shape (documents,)."""
        from mnemodex.indexers.ngram.walk import read_symbols

        read_symbols(self._tree, self._separator_rows[documents], starts, self.lengths(documents), symbols)

    @cached_property
    def _separator_rows(self) -> Int64s:
        """The row of each document's separator; 0 for documents without a token."""
        from mnemodex.indexers.ngram.walk import read_symbols

        of_documents = np.zeros(self.documents, dtype=np.int64)
        if self.tokens == 0:
            return of_documents
        rows = np.arange(*self.separators, dtype=np.int64)
        following = np.empty(len(rows), dtype=np.int32)
        read_symbols(self._tree, rows, np.arange(len(rows)), np.ones(len(rows), dtype=np.int64), following)
        # From one separator to the next no walk finds its way: the ends of the stream have no mark of their own.
        rows = rows[following != len(self._leaf_of) - 1]
        of_documents[self._documents_of(np.stack([rows, rows + 1], axis=1))] = rows
        return of_documents

    def _count_distinct(self, of_rows: Int32s, ranges: Int64s) -> tuple[Int64s, Int64s, Int64s]:
        from mnemodex.indexers.ngram.tally import count_distinct, make_sums

        offsets = np.empty(len(ranges) + 1, dtype=np.int64)
        documents, counts = np.empty(len(of_rows), dtype=np.int64), np.empty(len(of_rows), dtype=np.int64)
        count_distinct(of_rows, ranges, make_sums(self.documents), (documents, counts), offsets)
        return np.diff(offsets), documents[: offsets[-1]], counts[: offsets[-1]]

    def _rows_to_walk(self, ranges: Int64s, limits: Int64s) -> tuple[Int64s, Int64s]:
        """Return rows among which the first occurrences are, and how many for each query."""
        from mnemodex.indexers.ngram.walk import early_rows

        counts = ranges[:, 1] - ranges[:, 0]
        if self._documents is None or np.all(counts <= limits):
            return spans(ranges[:, 0], counts), counts
        of_rows = self._documents_of(ranges)
        _, documents, occurrences = self._count_distinct(of_rows, ranges)
        # The document in which the wanted number is reached; a query without rows asks for none.
        reached = np.cumsum(occurrences)
        enough = np.cumsum(counts) - counts + np.minimum(counts, limits)
        last = np.append(documents, -1)[np.searchsorted(reached, enough)]
        chosen, rows = ranges.copy(), np.empty(len(of_rows), dtype=np.int64)
        early_rows(of_rows, chosen, last, rows)
        return rows[: chosen[-1, 1]], chosen[:, 1] - chosen[:, 0]

    def _documents_of(self, ranges: Int64s) -> Int32s:
        """Return the document of every row of every range, one range after the other."""
        from mnemodex.indexers.ngram.walk import documents_of

        counts = ranges[:, 1] - ranges[:, 0]
        if self._documents is None:
            places = spans(ranges[:, 0], counts)
            self._walk(places)
            return (np.searchsorted(self._borders, places, side="right") - 1).astype(np.int32)
        documents = np.empty(counts.sum(), dtype=np.int32)
        documents_of(self._documents, self._width, ranges, documents)
        if len(documents) and documents.view(np.uint32).max() >= self.documents:
            raise CorruptFileError(f"{self._folder}: documents have numbers of no documents; build the shard again")
        return documents

    def _walk(self, rows: Int64s) -> None:
        """Overwrite row numbers with their places."""
        from mnemodex.indexers.ngram.walk import places_of

        found = places_of(self._tree, self._marks, self._samples, self._rate, rows)
        if not found or (len(rows) and rows.min() < 0):
            raise CorruptFileError(f"{self._folder}: marks or samples are damaged; build the shard again")


def create_array(folder: Path, name: str, length: int, dtype: type[np.generic]) -> Array:
    """Make a file of zeros and map it for writing, so that it takes no memory of the process's own."""
    return np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.dtype(dtype), shape=(length,))


def write_description(folder: Path, names: list[str], stats: dict[str, Any]) -> None:
    """Write the JSON: the stats, and of every array its type, shape and bytes on disk."""
    paths = {name: folder / f"{name}.npy" for name in names}
    arrays = {name: _form(path, np.load(path, mmap_mode="r", allow_pickle=False)) for name, path in paths.items()}
    text = json.dumps({"format": FORMAT, **stats, "arrays": arrays}, indent=1)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def _form(path: Path, array: Array) -> dict[str, Any]:
    return {"dtype": array.dtype.str, "shape": list(array.shape), "bytes": path.stat().st_size}


def read_description(folder: Path) -> dict[str, Any]:
    """Read the JSON; see `FMShard` for the errors."""
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        version = description["format"]
        if version <= FORMAT:
            return {name: description[name] for name in (*_STATS, "arrays")}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CorruptFileError(
            f"{path}: not the description of an n-gram shard ({reason(error)}); build the shard again"
        ) from error
    raise NewerFormatError(f"{path}: format {version}, but this version of Mnemodex reads up to {FORMAT}; update it")


def open_array(folder: Path, name: str, description: dict[str, Any]) -> Array:
    """Map one array for reading, or raise `CorruptFileError` where it is not what the description gives."""
    path = folder / f"{name}.npy"
    try:
        expected, size = description["arrays"][name], path.stat().st_size
        if size != expected["bytes"]:
            raise CorruptFileError(f"{path}: {size} bytes instead of {expected['bytes']}; build the shard again")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, *UNREADABLE) as error:
        raise CorruptFileError(f"{path}: cannot be opened ({reason(error)}); build the shard again") from error
    if (form := _form(path, array)) != expected:
        raise CorruptFileError(f"{path}: {form} is not what {DESCRIPTION} says; build the shard again")
    # numba takes a plain array faster than its subclass np.memmap.
    plain: Array = array.view(np.ndarray)
    return plain
