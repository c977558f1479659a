"""An n-gram index as it was built: its fields over all shards, and whose tokens they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.ngram.chunk_map import ChunkMap
from mnemodex.indexers.ngram.index import FMIndex
from mnemodex.indexers.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


class Places(NamedTuple):
    """Rows of a table: arrays of one shape."""

    ids: NDArray[np.int64]
    """The rows' ids; -1 where there is no row."""
    partition: NDArray[np.int32]
    """The number of their partition among `NgramCorpus.labels`; -1 where there is none."""
    row: NDArray[np.int64]
    """Their row there; -1 where there is none."""


class NgramCorpus:
    """The shards that `NgramIndexer` wrote.

    Documents are numbered from 0 through all shards, as `FMIndex` does it, and so are chunks.

    Args:
        folders: the shards' folders, in their order.

    Attributes:
        body: the index of the documents' texts.
        title: that of their titles.
        labels: the labels of all partitions.

    Raises:
        CorruptFileError: a file is missing or cut short, or does not belong to the others.
        QueryError: there is no document in the index.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.body, self.title = (
            FMIndex([path for folder in folders for path in sorted(folder.glob(f"[0-9]*/{field}"))])
            for field in ("body", "title")
        )
        self._maps = [ChunkMap.open(folder) for folder in folders]
        self._rows = {
            "documents": [Rows.open(folder, id_column="doc_id") for folder in folders],
            "chunks": [Rows.open(folder / "chunks") for folder in folders],
        }
        self.labels = tuple(label for rows in self._rows["documents"] for label in rows.labels)
        self._first = {table: np.cumsum([0, *(len(r.ids) for r in rows)]) for table, rows in self._rows.items()}
        self._first_label = np.cumsum([0, *(len(rows.labels) for rows in self._rows["documents"])])

    def chunks_of(self, documents: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers of the chunks that tokens belong to; see `ChunkMap.find`."""
        found = np.full(len(documents), -1, np.int64)
        shard = np.searchsorted(self._first["documents"], documents, side="right") - 1
        for number in np.unique(shard):
            here = np.flatnonzero(shard == number)
            chunks = self._maps[number].find(documents[here] - self._first["documents"][number], tokens[here])
            found[here] = np.where(chunks >= 0, chunks + self._first["chunks"][number], -1)
        return found

    def owned(self, chunks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """What chunks own: their documents' numbers, their first tokens there, and the ones after their last.

        Args:
            chunks: numbers of chunks, int64 of shape (n,).

        Returns:
            Three int64 arrays of shape (n,).
        """
        found = np.empty((3, len(chunks)), np.int64)
        shard = np.searchsorted(self._first["chunks"], chunks, side="right") - 1
        for number in np.unique(shard):
            here = np.flatnonzero(shard == number)
            found[:, here] = self._maps[number].owned(chunks[here] - self._first["chunks"][number])
            found[0, here] += self._first["documents"][number]
        return found[0], found[1], found[2]

    def chunks_in(self, documents: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first chunk of each document and how many it has: two int64 arrays of the shape of `documents`."""
        found = np.empty((2, len(documents)), np.int64)
        shard = np.searchsorted(self._first["documents"], documents, side="right") - 1
        for number in np.unique(shard):
            here = np.flatnonzero(shard == number)
            inside = documents[here] - self._first["documents"][number]
            first, after = (self._maps[number].document_chunks[inside + one] for one in (0, 1))
            found[0, here], found[1, here] = first + self._first["chunks"][number], after - first
        return found[0], found[1]

    def places(self, table: str, numbers: NDArray[np.int64]) -> Places:
        """The rows of documents or chunks.

        Args:
            table: "documents" or "chunks".
            numbers: their numbers, of any shape; -1 for none.
        """
        places = Places(
            np.full(numbers.shape, -1, np.int64),
            np.full(numbers.shape, -1, np.int32),
            np.full(numbers.shape, -1, np.int64),
        )
        shard = np.searchsorted(self._first[table], numbers, side="right") - 1
        for number in np.unique(shard[numbers >= 0]):
            rows = self._rows[table][number]
            here = (shard == number) & (numbers >= 0)
            inside = numbers[here] - self._first[table][number]
            places.ids[here] = rows.ids[inside]
            places.partition[here] = rows.partition[inside] + self._first_label[number]
            places.row[here] = rows.row[inside]
        return places

    def ids(self, table: str) -> NDArray[np.int64]:
        """The ids of all documents or chunks, by their numbers."""
        return np.concatenate([rows.ids for rows in self._rows[table]])
