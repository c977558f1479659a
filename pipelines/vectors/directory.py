"""The chunks of a memory by what names them in files of vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemodex.pipelines.vectors.block import hash_id, hash_place
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers, to_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Bools, Int64s
    from mnemodex.indexers.base import InputPartition
    from mnemodex.pipelines.vectors.block import Block, IdForm
    from mnemodex.retrievers.tombstones import Tombstones


class ChunkDirectory:
    """The chunks of all partitions by the hashes of what names them, and which row of the files each has."""

    def __init__(self, chunks: Sequence[InputPartition], form: IdForm, name: str, tombstones: Tombstones) -> None:
        self._chunks = chunks
        self._name = name
        ids = np.concatenate([np.zeros(0, np.int64), *(_chunk_names(part, form) for part in chunks)])
        self._masked = _masked(chunks, tombstones)
        # Chunks that readers see precede those of one name that they do not.
        self._order = np.lexsort((self._masked, ids)) if self._masked is not None else np.argsort(ids, kind="stable")
        self._ids = ids[self._order]
        self._taken = np.full(len(ids), -1, np.int64)

    def __len__(self) -> int:
        return len(self._ids)

    def find(self, block: Block, before: int) -> tuple[Int64s, Int64s]:
        """Return the rows of a block that are of chunks, and these chunks' numbers; `before` rows were read already.

        Raises:
            SourceError: two rows are of one chunk, or an id is of two chunks.
        """
        places, known = self._places(block.ids)
        ending = np.flatnonzero(~known & (block.bare >= 0))
        if len(ending):
            places[ending], known[ending] = self._places(block.bare[ending])
        rows = np.flatnonzero(known)
        places = places[rows]
        self._refuse_ambiguous(block, rows, places)
        earlier = self._taken[places]
        # Of several rows of the block with one id, the first is the earlier one.
        _, first, same = np.unique(places, return_index=True, return_inverse=True)
        within = first[same] != np.arange(len(places))
        again = (earlier >= 0) | within
        if again.any():
            bad = int(np.argmax(again))
            other = earlier[bad] if earlier[bad] >= 0 else before + rows[first[same[bad]]]
            raise SourceError(
                f"{block.path}: row {block.first + rows[bad] + 1} has the id of row {other + 1} of the files; leave "
                "one of them out"
            )
        self._taken[places] = before + rows
        return rows, self._order[places]

    def _refuse_ambiguous(self, block: Block, rows: Int64s, places: Int64s) -> None:
        """Refuse ids of two chunks that readers see."""
        following = np.minimum(places + 1, len(self._ids) - 1)
        twice = (following > places) & (self._ids[following] == self._ids[places])
        if self._masked is not None:
            twice &= ~self._masked[self._order[following]]
        if twice.any():
            raise SourceError(
                f"{block.path}: the id of row {block.first + rows[np.argmax(twice)] + 1} is the key of a document and "
                "KEY#ORDINAL of another's chunk; give a Parquet file with the columns key and ordinal"
            )

    def check_complete(self, path: str) -> None:
        """Refuse chunks without a vector.

        Raises:
            SourceError: names one of them, and counts them.
        """
        missing = self._order[self._taken < 0]
        if self._masked is not None:
            missing = missing[~self._masked[missing]]
        if not len(missing):
            return
        number = int(missing.min())
        if len(missing) == len(self):
            raise SourceError(
                f"{path}: none of its ids is of a chunk of the memory, the first of which is {self._shown(number)}; "
                "ids are the keys of documents, KEY#ORDINAL where these have several chunks, or chunk_id"
            )
        raise SourceError(
            f"embed.{self._name}: {len(missing)} of {len(self)} chunks have no vector, the first is "
            f"{self._shown(number)}; add their vectors to {path}, or a file of them to `from`, or leave the documents "
            "out of the source"
        )

    def _shown(self, number: int) -> str:
        for part in self._chunks:
            if number < part.rows:
                break
            number -= part.rows
        row = parquet.read(part.files["parquet"], columns=["doc_id", "ordinal"]).slice(number, 1).to_pylist()[0]
        documents = parquet.read(part.aligned["documents"].files["parquet"], columns=["doc_id", "key"])
        key = documents.filter(pc.equal(documents["doc_id"], row["doc_id"]))["key"][0].as_py()
        return f"chunk {row['ordinal']} of document {key!r}"

    def _places(self, ids: Int64s) -> tuple[Int64s, Any]:
        places = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        return places, self._ids[places] == ids


def _masked(chunks: Sequence[InputPartition], tombstones: Tombstones) -> Bools | None:
    """Return which chunks tombstones name, of shape (chunks,); None where there are none."""
    if not len(tombstones.chunk_id):
        return None
    ids = (parquet.column(part.files["parquet"], "chunk_id") for part in chunks)
    return np.concatenate([tombstones.mask("chunk_id", part) for part in ids])


def _chunk_names(part: InputPartition, form: IdForm) -> Int64s:
    """Return the hash of what names each chunk of a partition, int64; or its id."""
    if form == "chunk_id":
        ids: Int64s = parquet.column(part.files["parquet"], "chunk_id")
        return ids
    chunks = parquet.read(part.files["parquet"], columns=["doc_id", "ordinal"])
    documents = parquet.read(part.aligned["documents"].files["parquet"], columns=["doc_id", "key"])
    doc_ids, ordinals = numbers(chunks["doc_id"]), numbers(chunks["ordinal"]).astype(np.int64)
    order = np.argsort(numbers(documents["doc_id"]))
    rows = order[np.searchsorted(numbers(documents["doc_id"])[order], doc_ids)]
    keys = documents["key"].combine_chunks().take(to_column(rows, pa.int64()))
    if form == "place":
        return hash_place(keys, ordinals)
    _, inverse, counts = np.unique(doc_ids, return_inverse=True, return_counts=True)
    several = counts[inverse] > 1
    if not several.any():
        return hash_id(keys)
    named = pc.binary_join_element_wise(keys, to_column(ordinals, pa.int64()).cast(pa.string()), "#")
    return np.where(several, hash_id(named), hash_id(keys))
