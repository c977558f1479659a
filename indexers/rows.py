"""Where the rows of an index come from: chunk ids and (partition, row), so that a hit is read without a scan."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.schemas.errors import CorruptFileError
from mnemodex.schemas.store import parquet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mnemodex.indexers.base import InputPartition


@dataclass(frozen=True)
class Rows:
    """The rows of an index in the index's own order.

    Attributes:
        ids: chunk ids, int64 of shape (n,).
        partition: number of each row's partition in `labels`, int32 of shape (n,).
        row: its row there, int64 of shape (n,).
        labels: the partitions' labels.
    """

    ids: NDArray[np.int64]
    partition: NDArray[np.int32]
    row: NDArray[np.int64]
    labels: tuple[str, ...]

    @classmethod
    def of(cls, partitions: Sequence[InputPartition], *, id_column: str = "chunk_id") -> Rows:
        """All rows of some partitions, in order."""
        ids = [parquet.read(part.files["parquet"], columns=[id_column])[id_column].to_numpy() for part in partitions]
        sizes = [len(part) for part in ids]
        return cls(
            np.concatenate([*ids, np.zeros(0, np.int64)]).astype(np.int64),
            np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
            np.concatenate([*(np.arange(size, dtype=np.int64) for size in sizes), np.zeros(0, np.int64)]),
            tuple(part.label for part in partitions),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Rows]) -> Rows:
        """The rows of several shards, one after the other."""
        labels = [label for part in parts for label in part.labels]
        before = np.cumsum([0, *(len(part.labels) for part in parts)])
        return cls(
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.partition + np.int32(start) for part, start in zip(parts, before, strict=False)]),
            np.concatenate([part.row for part in parts]),
            tuple(labels),
        )

    def save(self, out: Path, *, id_column: str = "chunk_id") -> None:
        """Write `chunk_ids.npy` (after the ids' column), `partition.npy`, `row.npy` and `labels.json` into a folder."""
        np.save(out / f"{id_column}s.npy", self.ids, allow_pickle=False)
        np.save(out / "partition.npy", self.partition, allow_pickle=False)
        np.save(out / "row.npy", self.row, allow_pickle=False)
        (out / "labels.json").write_text(json.dumps(self.labels), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path, *, id_column: str = "chunk_id") -> Rows:
        """Map what `save` wrote.

        Raises:
            CorruptFileError: the arrays do not belong together.
        """
        ids, partition, row = (
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in (f"{id_column}s", "partition", "row")
        )
        if not len(ids) == len(partition) == len(row):
            msg = f"{folder}: {id_column}s, partition and row differ in length; remove the folder and build again"
            raise CorruptFileError(msg)
        return cls(ids, partition, row, tuple(json.loads((folder / "labels.json").read_text(encoding="utf-8"))))
