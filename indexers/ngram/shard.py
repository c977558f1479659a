"""One field of one shard: an FM-index opened by mmap, asked in symbols and answering in its own rows and documents."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.ngram.files import open_array, read_description
from mnemodex.indexers.ngram.ragged import spans

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class FMShard:
    """An FM-index over the documents of one shard.

    Rows are the suffixes of the reversed stream in their order; a range [low, high) of them is all occurrences of one
    n-gram. A place is a position in the stream, where a separator stands before every document.

    Args:
        folder: a field's folder of a shard that `build` wrote.

    Attributes:
        rows: tokens and documents together.
        documents: number of documents.
        tokens: number of tokens.
        vocabulary: int32 array of the shared vocabulary's ids.
        vocabulary_sha256: its hash.

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

        def mapped(name: str) -> NDArray[Any]:
            return open_array(folder, name, description)

        self.vocabulary: NDArray[np.int32] = mapped("vocabulary")
        self._bits, self._levels, self._leaves = mapped("bits"), mapped("levels"), mapped("leaves")
        self._leaf_of = mapped("leaf_of")
        self._borders, self._marks, self._samples = mapped("borders"), mapped("marks"), mapped("samples")
        self._documents = mapped("documents") if self._width else None

    @property
    def separators(self) -> tuple[int, int]:
        """The rows of the separators, one before every document."""
        from mnemodex.indexers.ngram.code import START

        leaf = self._leaf_of[-1]
        return int(self._leaves[leaf, START]), int(self._leaves[leaf + 1, START])

    def extend(self, ranges: NDArray[np.int64], symbols: NDArray[np.int32], offsets: NDArray[np.int64]) -> None:
        """Replace ranges by those after n-grams.

        Args:
            ranges: int64 array of shape (queries, 2), overwritten; empty ranges become (0, 0).
            symbols: int32 array of the n-grams' symbols, one n-gram after the other.
            offsets: int64 array of shape (queries + 1,).
        """
        from mnemodex.indexers.ngram.search import extend

        extend((self._bits, self._levels, self._leaves, self._leaf_of), ranges, symbols, offsets)

    def room(self, ranges: NDArray[np.int64]) -> NDArray[np.int64]:
        """The most continuations that each range can have: int64 array of shape (queries,)."""
        room: NDArray[np.int64] = np.minimum(ranges[:, 1] - ranges[:, 0], len(self._leaves))
        return room

    def continuations(self, ranges: NDArray[np.int64]) -> NDArray[np.int64]:
        """What follows ranges.

        Args:
            ranges: int64 array of shape (queries, 2).

        Returns:
            int64 array of shape (found, 3), in no order: query, symbol, count. The ends of documents are not among
            them.
        """
        from mnemodex.indexers.ngram.tally import continuations_of

        room = int(self.room(ranges).sum())
        found = np.empty((room, 3), dtype=np.int64)
        nodes = np.empty((2, room, 4), dtype=np.int64)
        tree = (self._bits, self._levels, self._leaves)
        return found[: continuations_of(tree, ranges, nodes, found, len(self._leaf_of) - 1)]

    def locate(
        self, ranges: NDArray[np.int64], limits: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Find the first occurrences of ranges in the order of the stream.

        Args:
            ranges: int64 array of shape (queries, 2).
            limits: int64 array of shape (queries,): how many are wanted of each.

        Returns:
            How many there are of each query, shape (queries,); and for all queries one after the other the document,
            and the offset in it of the n-gram's last token; int64 arrays.
        """
        rows, counts = self._rows_to_walk(ranges, limits)
        self._places(rows)
        # One sort orders all queries: the query is the higher part of the key.
        base = np.arange(len(ranges), dtype=np.int64) * self.rows
        ordered = np.sort(rows + np.repeat(base, counts)) - np.repeat(base, counts)
        kept = np.minimum(counts, limits)
        places = ordered[spans(np.cumsum(counts) - counts, kept)]
        documents = np.searchsorted(self._borders, places, side="right") - 1
        return kept, documents, places - self._borders[documents] - 1

    def count_documents(
        self, ranges: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Find the documents of ranges.

        Args:
            ranges: int64 array of shape (queries, 2).

        Returns:
            How many documents each query has, shape (queries,); and for all queries one after the other the documents,
            ascending, and how often the n-gram occurs in each; int64 arrays.
        """
        return self._count_distinct(self._documents_of(ranges), ranges)

    def lengths(self, documents: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of documents: int64 array of shape (documents,)."""
        lengths: NDArray[np.int64] = self._borders[documents + 1] - self._borders[documents] - 1
        return lengths

    def read(self, documents: NDArray[np.int64], starts: NDArray[np.int64], symbols: NDArray[np.int32]) -> None:
        """Write the symbols of documents.

        Args:
            documents: int64 array of shape (documents,).
            starts: int64 array of shape (documents,): where each document's first symbol is written.
            symbols: int32 array, written.
        """
        self._read(self._separator_rows[documents], starts, self.lengths(documents), symbols)

    def _read(
        self,
        rows: NDArray[np.int64],
        starts: NDArray[np.int64],
        lengths: NDArray[np.int64],
        symbols: NDArray[np.int32],
    ) -> None:
        from mnemodex.indexers.ngram.read import read_symbols

        read_symbols((self._bits, self._levels, self._leaves), rows, starts, lengths, symbols)

    @cached_property
    def _separator_rows(self) -> NDArray[np.int64]:
        """The row of each document's separator; 0 for documents without a token."""
        of_documents = np.zeros(self.documents, dtype=np.int64)
        if self.tokens == 0:
            return of_documents
        rows = np.arange(*self.separators, dtype=np.int64)
        following = np.empty(len(rows), dtype=np.int32)
        self._read(rows, np.arange(len(rows)), np.ones(len(rows), dtype=np.int64), following)
        # From one separator to the next no walk finds its way: the ends of the stream have no mark of their own.
        rows = rows[following != len(self._leaf_of) - 1]
        of_documents[self._documents_of(np.stack([rows, rows + 1], axis=1))] = rows
        return of_documents

    def _count_distinct(
        self, of_rows: NDArray[np.int32], ranges: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        from mnemodex.indexers.ngram.tally import count_distinct, make_sums

        offsets = np.empty(len(ranges) + 1, dtype=np.int64)
        documents, counts = np.empty(len(of_rows), dtype=np.int64), np.empty(len(of_rows), dtype=np.int64)
        count_distinct(of_rows, ranges, make_sums(self.documents), (documents, counts), offsets)
        return np.diff(offsets), documents[: offsets[-1]], counts[: offsets[-1]]

    def _rows_to_walk(
        self, ranges: NDArray[np.int64], limits: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows among which the first occurrences are, and how many for each query."""
        from mnemodex.indexers.ngram.places import early_rows

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

    def _documents_of(self, ranges: NDArray[np.int64]) -> NDArray[np.int32]:
        """The document of every row of every range, one range after the other."""
        from mnemodex.indexers.ngram.places import documents_of

        counts = ranges[:, 1] - ranges[:, 0]
        if self._documents is None:
            places = spans(ranges[:, 0], counts)
            self._places(places)
            return (np.searchsorted(self._borders, places, side="right") - 1).astype(np.int32)
        documents = np.empty(counts.sum(), dtype=np.int32)
        documents_of(self._documents, self._width, ranges, documents)
        return documents

    def _places(self, rows: NDArray[np.int64]) -> None:
        """Overwrite row numbers with their places."""
        from mnemodex.indexers.ngram.places import places_of

        places_of(self._bits, self._levels, self._marks, self._samples, rows)
