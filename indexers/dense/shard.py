"""The files of a shard: the index, what stands at each position of it, and what it was built as."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from mnemodex.indexers.dense.faiss_engine import FaissEngine
from mnemodex.indexers.dense.hnswlib_engine import HnswlibEngine
from mnemodex.indexers.dense.settings import Metric
from mnemodex.indexers.rows import Rows
from mnemodex.schemas.errors import CorruptFileError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mnemodex.indexers.dense.engine import Engine

HEADER = "shard.json"
BY_CHUNK = "by_chunk.npy"


class ShardHeader(BaseModel):
    """What `shard.json` holds.

    Attributes:
        partition_rows: rows of each embedding partition in the shard.
        rows: vectors in the index.
        dimension: of the vectors.
        metric: that the index ranks by.
        engine: that wrote the index.
        factory: the FAISS factory string; None for hnswlib.
        id_column: what its ids are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    partition_rows: tuple[int, ...]
    rows: int
    dimension: int
    metric: Metric
    engine: Literal["faiss", "hnswlib"]
    factory: str | None
    id_column: str = "chunk_id"

    @classmethod
    def read(cls, folder: Path) -> ShardHeader:
        """Read `shard.json`.

        Raises:
            CorruptFileError: it is missing or not one.
        """
        path = folder / HEADER
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError) as error:
            raise CorruptFileError(f"{path}: cannot be read ({error}); build the index again") from error


def write_shard(folder: Path, header: ShardHeader, rows: Rows) -> None:
    """Write all files but the index; `by_chunk.npy` holds the positions by ascending id."""
    rows.save(folder, id_column=header.id_column)
    np.save(folder / BY_CHUNK, np.argsort(rows.ids, kind="stable"), allow_pickle=False)
    (folder / HEADER).write_text(header.model_dump_json(indent=1) + "\n", encoding="utf-8")


class Shard:
    """An opened shard; its arrays are mapped.

    Attributes:
        header: its `shard.json`.
        rows: the chunk, partition and row at each position.
        engine: the index.
    """

    def __init__(self, folder: Path, parameter: int | None) -> None:
        """Open a shard whose checksums the caller has verified.

        Args:
            folder: of the shard.
            parameter: value of the search parameter that most searches will use.

        Raises:
            CorruptFileError: a file cannot be read, or does not agree with `shard.json`.
        """
        self.header = ShardHeader.read(folder)
        self.rows = Rows.open(folder, id_column=self.header.id_column)
        self.engine = _open_engine(folder, self.header, parameter)
        self._by_chunk = np.load(folder / BY_CHUNK, mmap_mode="r", allow_pickle=False)
        expected = (self.header.rows, self.header.dimension, self.header.rows, self.header.rows)
        found = (self.engine.rows, self.engine.dimension, len(self.rows.ids), len(self._by_chunk))
        if found != expected:
            raise CorruptFileError(
                f"{folder}: shard.json says {expected[0]} rows of {expected[1]} dimensions, but the index holds "
                f"{found[0]} of {found[1]}, and its row tables {found[2]} and {found[3]}; build the index again"
            )

    def place(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The position of each id, of any shape; -1 where it is not in the shard."""
        known = self.rows.ids
        if not len(known):
            return np.full(ids.shape, -1, dtype=np.int64)
        slots = np.searchsorted(known, ids, sorter=self._by_chunk)
        positions = np.asarray(self._by_chunk[np.minimum(slots, len(known) - 1)])
        return np.where(known[positions] == ids, positions, -1)

    def find(self, chunk_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The positions, in no order, of those of the ascending `chunk_ids` that are in the shard."""
        ids = self.rows.ids
        if not len(chunk_ids) or not len(ids):
            return np.empty(0, dtype=np.int64)
        if len(chunk_ids) > len(ids):
            slots = np.searchsorted(chunk_ids, ids)
            return np.flatnonzero(chunk_ids[np.minimum(slots, len(chunk_ids) - 1)] == ids)
        slots = np.searchsorted(ids, chunk_ids, sorter=self._by_chunk)
        positions = np.asarray(self._by_chunk[np.minimum(slots, len(ids) - 1)])
        found: NDArray[np.int64] = positions[ids[positions] == chunk_ids]
        return found


def _open_engine(folder: Path, header: ShardHeader, parameter: int | None) -> Engine:
    if header.engine == "hnswlib":
        return HnswlibEngine.open(folder, header.metric, header.dimension, ef=parameter)
    return FaissEngine.open(folder, header.metric)
