"""Vectors to index: clustered like embeddings, cut into partitions, built and opened as a pipeline would."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mnemodex.indexers.base import InputPartition
from mnemodex.indexers.dense.devices import set_threads
from mnemodex.indexers.dense.indexer import DenseIndexer
from mnemodex.indexers.dense.searcher import DenseSearcher
from mnemodex.indexers.vector_settings import DenseSettings
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import TableKey, spec_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mnemodex.indexers.dense.indexer import DenseStats


def clustered(rows: int, dimension: int = 24, *, seed: int = 0, clusters: int = 40) -> NDArray[np.float32]:
    """Unit vectors around random centres, with fewer directions inside a cluster than the space has."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(clusters, dimension))
    spread = np.random.default_rng(98).normal(size=(8, dimension)) * 0.35
    matrix = centres[rng.integers(clusters, size=rows)] + rng.normal(size=(rows, 8)) @ spread
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


def chunk_ids(rows: int, *, seed: int = 7) -> NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(rows * 3)[:rows].astype(np.int64) * 1_000_003


def partitions(
    folder: Path,
    matrix: NDArray[Any],
    sizes: Sequence[int],
    *,
    ids: NDArray[np.int64] | None = None,
    of: str = "",
) -> list[InputPartition]:
    """The matrix as embedding partitions p0, p1, … of these sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = chunk_ids(len(matrix)) if ids is None else ids
    table = spec_of(TableKey("embeddings", "test", of)).sized(matrix.shape[1])
    made = []
    for number, (start, size) in enumerate(zip(np.cumsum([0, *sizes]), sizes, strict=False)):
        part = matrix[start : start + size]
        files = {"npy": folder / f"p{number}.npy", "parquet": folder / f"p{number}.parquet"}
        np.save(files["npy"], part)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(part.astype(np.float32).ravel()), matrix.shape[1])
        batch = pa.RecordBatch.from_arrays([pa.array(ids[start : start + size]), vectors], schema=table.schema)
        parquet.write(files["parquet"], table, [batch])
        made.append(InputPartition(f"p{number}", size, files))
    return made


@dataclass
class Built:
    """An index of some partitions, with everything that a test may want to look at."""

    indexer: DenseIndexer
    parts: list[InputPartition]
    ids: NDArray[np.int64]
    shards: list[Path]
    stats: list[DenseStats]

    def open(self, parameter: int | None = None) -> DenseSearcher:
        """A searcher with the measured parameter, or the one given."""
        files = {part.label: part.files["npy"] for part in self.parts}
        measured = self.indexer.measure(self.shards).search
        value = measured.value if parameter is None else parameter
        return DenseSearcher(self.shards, value, vectors=files.__getitem__, refine=measured.refine)


def build(
    folder: Path,
    matrix: NDArray[Any],
    *,
    sizes: Sequence[int] | None = None,
    groups: Sequence[Sequence[int]] | None = None,
    probes: NDArray[np.float32] | None = None,
    ids: NDArray[np.int64] | None = None,
    **settings: Any,
) -> Built:
    """Build an index over partitions of `sizes`, a shard for each group of them."""
    # Graphs grown by one thread are the same in every run, and threads that wait for busy cores take far longer.
    set_threads(1)
    sizes = sizes or [len(matrix)]
    groups = groups or [range(len(sizes))]
    ids = chunk_ids(len(matrix)) if ids is None else ids
    parts = partitions(folder / "table", matrix, sizes, ids=ids)
    indexer = DenseIndexer(DenseSettings(**settings), len(matrix), matrix.shape[1])
    new = partial(_new_folder, folder)
    extras: dict[str, Path] = {}
    if indexer.needs_training:
        extras["trained"] = new("trained")
        indexer.train(parts, extras["trained"])
    if probes is not None:
        extras["probes"] = folder / "questions.npy"
        np.save(extras["probes"], probes)
    shards, stats = [], []
    for number, group in enumerate(groups):
        shards.append(new(f"shard{number}"))
        stats.append(indexer.build([parts[i] for i in group], shards[-1], **extras))
    return Built(indexer, parts, ids, shards, stats)


def _new_folder(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def exact(
    matrix: NDArray[Any], ids: NDArray[np.int64], queries: NDArray[np.float32], k: int, *, metric: str = "ip"
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The reference: numpy in double precision; equal scores by rising id."""
    wide = matrix.astype(np.float64)
    if metric == "ip":
        scores = queries.astype(np.float64) @ wide.T
    else:
        scores = -np.stack([((wide - query) ** 2).sum(axis=1) for query in queries.astype(np.float64)])
    order = np.lexsort((np.broadcast_to(ids, scores.shape), -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, axis=1), ids[order]


def recall(found: NDArray[np.int64], true: NDArray[np.int64]) -> float:
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(true, found, strict=True)]))
