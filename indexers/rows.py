"""The origin of an index's rows: chunk ids and (partition, row), so that a hit is read without a scan."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import TypeAdapter, ValidationError

from mnemodex.indexers.arrays import Int32s, Int64s, Integers, check_arrays, check_places, open_arrays, save_arrays
from mnemodex.schemas.errors import CorruptFileError
from mnemodex.schemas.store import parquet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mnemodex.indexers.base import InputPartition


_LABELS = TypeAdapter(tuple[str, ...])


@dataclass(frozen=True)
class Rows:
    """The n rows of an index in the index's own order.

    Attributes:
        ids: chunk ids, int64 of shape (n,).
        partition: number of each row's partition in `labels`, int32 of shape (n,).
        row: its row there, int64 of shape (n,).
    """

    ids: Int64s
    partition: Int32s
    row: Int64s
    labels: tuple[str, ...]

    @classmethod
    def of(cls, partitions: Sequence[InputPartition], *, id_column: str = "chunk_id") -> Rows:
        """Return the rows of some partitions that are to be indexed, in order."""
        none = np.zeros(0, np.int64)
        ids = [parquet.column(part.files["parquet"], id_column)[part.start :] for part in partitions]
        sizes = list(map(len, ids))
        return cls(
            np.concatenate([none, *ids]).astype(np.int64),
            np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
            np.concatenate([none, *(np.arange(n) + part.start for n, part in zip(sizes, partitions, strict=True))]),
            tuple(part.label for part in partitions),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Rows]) -> Rows:
        """Return the rows of several shards, one after the other."""
        before = np.cumsum([0, *(len(part.labels) for part in parts)])
        return cls(
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.partition + np.int32(start) for part, start in zip(parts, before, strict=False)]),
            np.concatenate([part.row for part in parts]),
            tuple(label for part in parts for label in part.labels),
        )

    def save(self, out: Path, *, id_column: str = "chunk_id") -> None:
        """Write `chunk_ids.npy` (after the ids' column), `partition.npy`, `row.npy` and `labels.json` into a folder."""
        save_arrays(out, **{f"{id_column}s": self.ids}, partition=self.partition, row=self.row)
        (out / "labels.json").write_text(json.dumps(self.labels), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path, *, id_column: str = "chunk_id") -> Rows:
        """Map what `save` wrote; a `CorruptFileError` says that the arrays do not belong together."""
        arrays = open_arrays(folder, **{f"{id_column}s": np.int64, "partition": np.int32, "row": np.int64})
        check_arrays(len(set(map(len, arrays))) == 1, folder, f"{id_column}s, partition and row")
        ids, partition, row = arrays
        try:
            labels = _LABELS.validate_json((folder / "labels.json").read_bytes())
        except ValidationError as error:
            raise CorruptFileError(f"{folder}: labels.json has no labels; remove the folder and build again") from error
        check_places(partition, len(labels), folder, "partition")
        check_places(row, 1 << 48, folder, "row")
        return cls(ids, partition, row, labels)


class ShardRows:
    """The rows of all shards of an index, numbered from 0 through all of them.

    Attributes:
        shards: the rows of each shard.
        first: the number of each shard's first row, and of all rows: int64 of shape (shards + 1,).
        labels: of the partitions of all shards.
    """

    def __init__(self, shards: Sequence[Rows]) -> None:
        self.shards = list(shards)
        self.first = np.cumsum([0, *(len(rows.ids) for rows in shards)], dtype=np.int64)
        self.labels = tuple(label for rows in shards for label in rows.labels)
        self._first_label = np.cumsum([0, *(len(rows.labels) for rows in shards)])

    def __len__(self) -> int:
        return int(self.first[-1])

    def by_shard(self, numbers: Int64s) -> Iterator[tuple[int, tuple[Integers, ...], Int64s]]:
        """Yield each shard that holds some rows, given by numbers in any shape; -1 is in no shard.

        That is the shard's number, the indices of its rows in `numbers`, and their positions in the shard.
        """
        shards = np.where(numbers >= 0, np.searchsorted(self.first, numbers, side="right") - 1, -1)
        for shard in np.unique(shards[shards >= 0]).tolist():
            inside = np.nonzero(shards == shard)
            yield shard, inside, numbers[inside] - self.first[shard]

    def at(self, numbers: Int64s) -> Rows:
        """Return rows by their numbers: arrays of the shape of `numbers`, with -1 for the number -1."""
        ids, partition, row = (np.full(numbers.shape, -1, dtype) for dtype in (np.int64, np.int32, np.int64))
        for shard, inside, positions in self.by_shard(numbers):
            rows = self.shards[shard]
            ids[inside], row[inside] = rows.ids[positions], rows.row[positions]
            partition[inside] = rows.partition[positions] + self._first_label[shard]
        return Rows(ids, partition, row, self.labels)
