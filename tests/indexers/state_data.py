"""Partitions of a language model's states to index, as the store has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mnemodex.indexers.base import InputPartition
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import TableKey, spec_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def values(positions: NDArray[np.int64]) -> NDArray[np.int32]:
    """The token at a position: one can be told from the other, and some are above 65,535."""
    return (positions % 100_003).astype(np.int32)


def state_partitions(
    folder: Path, matrix: NDArray[np.float32], sizes: Sequence[int], *, positions: NDArray[np.int64]
) -> list[InputPartition]:
    """The matrix as keys in partitions p0, p1, … of these sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    table = spec_of(TableKey("lm_states", "m")).sized(matrix.shape[1])
    made = []
    for number, (start, size) in enumerate(zip(np.cumsum([0, *sizes]).tolist(), sizes, strict=False)):
        keys, here = matrix[start : start + size].astype(np.float16), positions[start : start + size]
        files = {"npy": folder / f"p{number}.npy", "parquet": folder / f"p{number}.parquet"}
        np.save(files["npy"], keys)
        packed = pa.array([key.tobytes() for key in keys], table.schema.field("key").type)
        columns = [here, here, here, np.zeros(size, np.int32), packed, values(here), np.ones(size, np.float32)]
        parquet.write(files["parquet"], table, [pa.record_batch(columns, schema=table.schema)])
        made.append(InputPartition(f"p{number}", size, files))
    return made
