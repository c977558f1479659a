"""An n-gram index as it was built: its fields over all shards, their documents and chunks, and a decoder's look-ups."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.arrays import check_arrays
from mnemodex.indexers.ngram.chunk_map import ChunkMap
from mnemodex.indexers.ngram.index import FMIndex
from mnemodex.indexers.ngram.ragged import Continuations, offsets_of, spans
from mnemodex.indexers.rows import Rows, ShardRows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mnemodex.indexers.arrays import Bools, Int64s

_WIDE = 256
"""Rows from which a range is cached: its n-gram is short, so that other beams and questions look it up too."""
_KEPT = 1 << 22
"""Tokens that are cached: 64 MB."""


def _fields(folders: Sequence[Path], field: str) -> list[Path]:
    return [path for folder in folders for path in sorted(folder.glob(f"[0-9]*/{field}"))]


class NgramCorpus:
    """The shards that `NgramIndexer` wrote. Documents are numbered from 0 through all shards, and so are chunks.

    Args:
        folders: of the shards.
        left_out: of shards that it wrote of documents that count no longer.
        masked: says of documents' ids, int64 of shape (n,), which these are; None where all count.

    Attributes:
        body: the index of the documents' texts.
        title: that of their titles.
        documents: the rows of the table "documents", and `chunks` those of "chunks".

    Raises:
        CorruptFileError: a file is missing or cut short, or does not belong to the others.
        QueryError: there is no document in the index.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        left_out: Sequence[Path] = (),
        masked: Callable[[Int64s], Bools] | None = None,
    ) -> None:
        documents = [Rows.open(folder, id_column="doc_id") for folder in folders]
        mask = np.concatenate([masked(np.asarray(rows.ids)) for rows in documents]) if masked is not None else None
        self.body, self.title = (
            FMIndex(_fields(folders, field), left_out=_fields(left_out, field), masked=mask)
            for field in ("body", "title")
        )
        self._maps = [ChunkMap.open(folder) for folder in folders]
        self.documents = ShardRows(documents)
        self.chunks = ShardRows([Rows.open(folder / "chunks") for folder in folders])
        mapped = [(len(part), len(part.first_tokens)) for part in self._maps]
        rows = [
            (len(own.ids), len(chunks.ids))
            for own, chunks in zip(self.documents.shards, self.chunks.shards, strict=True)
        ]
        lengths = np.concatenate([np.diff(part.document_tokens) for part in self._maps])
        agree = mapped == rows and len(lengths) == self.body.document_count == self.title.document_count
        every = np.arange(self.body.document_count)
        agree = agree and np.array_equal(lengths, self.body.lengths(every))
        check_arrays(agree, folders[0].parent, "the documents, their chunks and their tokens")

    def chunks_of(self, documents: Int64s, tokens: Int64s) -> Int64s:
        """Return the numbers of the chunks that tokens belong to; see `ChunkMap.find`."""
        numbers = np.full(len(documents), -1, np.int64)
        for shard, indices, inside in self.documents.by_shard(documents):
            chunks = self._maps[shard].find(inside, tokens[indices])
            numbers[indices] = np.where(chunks >= 0, chunks + self.chunks.first[shard], -1)
        return numbers

    def owned(self, chunks: Int64s) -> tuple[Int64s, Int64s, Int64s]:
        """Return the documents of chunks, the first token there that each owns, and the one after its last.

        They are three int64 arrays of the shape of `chunks`, (n,).
        """
        owned = np.empty((3, len(chunks)), np.int64)
        for shard, indices, inside in self.chunks.by_shard(chunks):
            owned[:, indices[0]] = self._maps[shard].owned(inside)
            owned[0, indices[0]] += self.documents.first[shard]
        return owned[0], owned[1], owned[2]

    def chunks_in(self, documents: Int64s) -> tuple[Int64s, Int64s]:
        """Return the first chunk of each document and how many it has: two int64 arrays of the shape of `documents`."""
        first, sizes = np.empty((2, len(documents)), np.int64)
        for shard, indices, inside in self.documents.by_shard(documents):
            begin, end = (self._maps[shard].document_chunks[inside + one] for one in (0, 1))
            first[indices], sizes[indices] = begin + self.chunks.first[shard], end - begin
        return first, sizes


class Frontier:
    """The tokens that may follow ranges, for a decoder, which looks up most of them at every step.

    Each range is looked up once, and the answers for wide ones are cached.
    """

    def __init__(self, index: FMIndex) -> None:
        self._index = index
        self._cache: OrderedDict[bytes, tuple[Int64s, Int64s]] = OrderedDict()
        self._size = 0

    def continuations(self, ranges: Int64s) -> Continuations:
        """As `FMIndex.continuations`."""
        flat = np.ascontiguousarray(ranges).reshape(len(ranges), 2 * ranges.shape[1])
        # One opaque value a row sorts many times as fast as rows of numbers.
        _, first, inverse = np.unique(flat.view(f"V{flat.shape[1] * 8}")[:, 0], return_index=True, return_inverse=True)
        fresh = self._look_up(ranges[first])
        lengths = np.diff(fresh.offsets)[inverse]
        chosen = spans(fresh.offsets[:-1][inverse], lengths)
        return Continuations(offsets_of(lengths), fresh.tokens[chosen], fresh.counts[chosen])

    def _look_up(self, ranges: Int64s) -> Continuations:
        """Return the continuations of distinct ranges."""
        wide = np.flatnonzero((ranges[:, :, 1] - ranges[:, :, 0]).sum(axis=1) > _WIDE)
        keys = {int(row): ranges[row].tobytes() for row in wide}
        parts = {row: self._cache[key] for row, key in keys.items() if key in self._cache}
        for row in parts:
            self._cache.move_to_end(keys[row])
        missing = np.setdiff1d(np.arange(len(ranges)), list(parts))
        fresh = self._index.continuations(ranges[missing])
        for row, start, stop in zip(missing.tolist(), fresh.offsets[:-1], fresh.offsets[1:], strict=True):
            parts[row] = fresh.tokens[start:stop], fresh.counts[start:stop]
            if row in keys:
                self._keep(keys[row], *parts[row])
        tokens, counts = ([parts[row][column] for row in range(len(ranges))] for column in (0, 1))
        none = np.empty(0, np.int64)
        lengths = np.array([len(row) for row in tokens], np.int64)
        return Continuations(offsets_of(lengths), np.concatenate([*tokens, none]), np.concatenate([*counts, none]))

    def _keep(self, key: bytes, tokens: Int64s, counts: Int64s) -> None:
        # Copies: a slice would keep all that was fresh in the same call.
        self._cache[key] = tokens.copy(), counts.copy()
        self._size += len(tokens)
        while self._size > _KEPT:
            _, (oldest, _) = self._cache.popitem(last=False)
            self._size -= len(oldest)
