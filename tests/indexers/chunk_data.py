"""Chunk partitions to index, as the store has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mnemodex.indexers.base import InputPartition
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import CHUNKS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def chunk_ids(rows: int) -> np.ndarray:
    return np.random.default_rng(11).permutation(rows * 3)[:rows].astype(np.int64) * 1_000_003


def chunk_partitions(
    folder: Path, texts: Sequence[str], sizes: Sequence[int], *, titles: Sequence[str] | None = None
) -> list[InputPartition]:
    """The texts as chunk partitions p0, p1, … of these sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = chunk_ids(len(texts))
    titles = [""] * len(texts) if titles is None else titles
    made = []
    for number, (start, size) in enumerate(zip(np.cumsum([0, *sizes]).tolist(), sizes, strict=False)):
        here = slice(start, start + size)
        columns = {
            "chunk_id": ids[here],
            "doc_id": ids[here] + 1,
            "ordinal": np.zeros(size, np.int32),
            "start": np.zeros(size, np.int64),
            "end": np.fromiter(map(len, texts[here]), np.int64, size),
            "title": pa.array(titles[here], pa.string()),
            "text": pa.array(texts[here], pa.string()),
            "tokens": np.ones(size, np.int32),
        }
        path = folder / f"p{number}.parquet"
        parquet.write(path, CHUNKS, [pa.record_batch(list(columns.values()), schema=CHUNKS.schema)])
        made.append(InputPartition(f"p{number}", size, {"parquet": path}))
    return made
