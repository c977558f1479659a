"""Chunk partitions to index, as the store has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mnemodex.indexers.base import InputPartition
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS, spec_of

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
    table = spec_of(CHUNKS)
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
        parquet.write(path, table, [pa.record_batch(list(columns.values()), schema=table.schema)])
        made.append(InputPartition(f"p{number}", size, {"parquet": path}))
    return made


def document_partitions(folder: Path, texts: Sequence[str], sizes: Sequence[int]) -> list[InputPartition]:
    """The texts as documents partitions, each with the partition of its chunks, one a document."""
    chunks, table = chunk_partitions(folder / "chunks", texts, sizes), spec_of(DOCUMENTS)
    made = []
    for number, (start, size) in enumerate(zip(np.cumsum([0, *sizes]).tolist(), sizes, strict=False)):
        here = slice(start, start + size)
        blank = pa.array([""] * size, pa.string())
        columns = {
            **dict.fromkeys(table.schema.names, blank),
            "doc_id": chunk_ids(len(texts))[here] + 1,
            "key": pa.array([str(place) for place in range(start, start + size)], pa.string()),
            "text": pa.array(texts[here], pa.string()),
            "line": np.arange(size, dtype=np.int64),
        }
        path = folder / f"p{number}.parquet"
        parquet.write(path, table, [pa.record_batch(list(columns.values()), schema=table.schema)])
        made.append(InputPartition(f"p{number}", size, {"parquet": path}, {"chunks": chunks[number]}))
    return made
