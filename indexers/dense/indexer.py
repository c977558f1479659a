"""The dense indexer: embeddings in, FAISS or hnswlib shards out, with their recall."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field
from typing_extensions import override

from mnemodex.indexers.base import Indexer, IndexStats
from mnemodex.indexers.dense.budget import choose_factory
from mnemodex.indexers.dense.devices import set_threads
from mnemodex.indexers.dense.factory import TRAINED, make_index, sample_size, train_index
from mnemodex.indexers.dense.faiss_engine import FaissEngine
from mnemodex.indexers.dense.faiss_file import read_index
from mnemodex.indexers.dense.hnswlib_engine import HnswlibEngine
from mnemodex.indexers.dense.order import hold_out, insertion_order
from mnemodex.indexers.dense.probe import FILE as PROBE
from mnemodex.indexers.dense.probe import (
    MOST_PROBES,
    Contents,
    Probe,
    choose,
    factors,
    held_out_rows,
    merge_probes,
    probe_index,
)
from mnemodex.indexers.dense.shard import ShardHeader, write_shard
from mnemodex.indexers.dense.vectors import Vectors, sample_rows
from mnemodex.indexers.rows import Rows
from mnemodex.schemas.errors import CorruptFileError, QueryError, RecipeError
from mnemodex.schemas.tables import TableKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.indexers.arrays import Float32s
    from mnemodex.indexers.base import InputPartition, Measured
    from mnemodex.indexers.dense.engine import Engine
    from mnemodex.indexers.dense.probe import Origin
    from mnemodex.indexers.vector_settings import Refine, VectorSettings
    from mnemodex.schemas.spec import Digest

QUERIES = "queries.npy"


class DenseStats(IndexStats):
    """Statistics of a shard; `held_out` rows were searched for before they were added, `steps` are in seconds."""

    held_out: int = 0
    order: str = ""
    factory: str | None = None
    steps: dict[str, float] = Field(default_factory=dict)


class DenseIndexer(Indexer):
    """Builds the shards of a dense index.

    A shard's folder holds `index.faiss` or `index.hnsw`; `chunk_ids.npy`, `partition.npy`, `row.npy` and `labels.json`,
    which say what is at each position of the index; `by_chunk.npy`, which finds a chunk; `probe.npz`, what was
    measured; and `shard.json`. Shards are searched together, those of inverted lists with one set of centroids.

    Attributes:
        factory: the FAISS factory string that `auto` became; None for hnswlib. One that does not fit is a
            `RecipeError`.
        exact_from: see `Engine.exact_from`.
        refine: as in the settings, or what a memory budget made of it.
    """

    version: ClassVar[int] = 1
    measure_version: ClassVar[int] = 2
    grows: ClassVar[bool] = True
    measured_by: ClassVar[str] = PROBE
    settings: VectorSettings

    def __init__(self, settings: VectorSettings, rows: int, dimension: int) -> None:
        super().__init__(settings, rows, dimension)
        self.shard_rows = settings.shard_rows
        self.factory: str | None = None
        self.exact_from: int | None = None
        self.refine: Refine | None = None
        graph = True
        if settings.engine == "faiss":
            self.factory, self.refine, self.shard_rows = choose_factory(settings, rows, dimension)
            index = make_index(self.factory, dimension, settings.metric)
            self.needs_training = not index.is_trained
            self.training_rows = sample_size(index)
            # FAISS trains inverted lists, and finds the list of a row, on a GPU; other indexes are built by CPUs alone.
            self.gpus = int(self.needs_training)
            engine = FaissEngine(index, settings.metric)
            self.exact_from = engine.exact_from
            if self.refine is not None and self.exact_from is not None:
                raise RecipeError(f"factory {self.factory!r} holds the vectors themselves; leave `refine` out")
            graph = engine.parameter == "efSearch"
        # A shard has no more bytes by codes, which are of more rows.
        self.memory = 2 * 4 * min(rows, settings.shard_rows) * dimension
        # The factory decides the files, not `auto`; and only a graph depends on its order, see VectorSettings.order.
        decisive = {"factory": self.factory or "auto", "order": settings.order if graph else "as_is"}
        self.settings = settings.model_copy(update=decisive)

    @override
    def identity(self, step: str, digest: Digest) -> dict[str, Any]:
        # Training is the same; the probe of a shard tries what is refined.
        refined = {"refine": self.refine} if self.refine is not None and step != "train" else {}
        return super().identity(step, digest) | refined

    @override
    def setup(self, cpus: int) -> None:
        set_threads(cpus)

    @staticmethod
    @override
    def vectors(settings: Any) -> TableKey:
        return TableKey("embeddings", settings.embed)

    def train(self, partitions: Sequence[InputPartition], out: Path) -> IndexStats:
        """Train on a uniform sample of the rows of all partitions, and write `trained.faiss`; see `train_index`."""
        if self.factory is None:
            raise ValueError("hnswlib has nothing to train")
        vectors = self._vectors(partitions)
        return train_index(self.factory, self.settings.metric, vectors, out, seed=self.settings.seed)

    def build(
        self,
        partitions: Sequence[InputPartition],
        out: Path,
        *,
        trained: Path | None = None,
        probes: Path | None = None,
    ) -> DenseStats:
        """Build one shard from embedding partitions (files `npy` and `parquet`), and measure its recall on the way.

        Memory holds one batch of vectors and the index, for a moment up to twice as FAISS's arrays grow; the `lid` and
        `cluster` orders hold the shard's vectors before that. `trained` is the folder that `train` wrote, if
        `needs_training`.

        `probes` are the vectors of real queries, `.npy` of float32 of shape (q, d) or a folder with `queries.npy`; 500
        of them at most are used, the same for every shard. Without it some rows are held out of the index (see
        `held_out_rows`), searched for, and added last.

        Raises:
            NotFiniteError: a vector holds NaN or infinity.
            CorruptFileError: a partition's files do not belong together.
            QueryError: the queries are not of the vectors' dimension.
        """
        times = [time.monotonic()]
        settings = self.settings
        vectors, rows = self._vectors(partitions), Rows.of(partitions, id_column=self.id_column)
        if len(rows.ids) != len(vectors):
            raise CorruptFileError(
                f"the partitions {', '.join(rows.labels)} have {len(rows.ids)} ids, but {len(vectors)} vectors; "
                "build the embeddings again"
            )
        held_out = held_out_rows(len(vectors)) if probes is None else 0
        order = hold_out(insertion_order(settings.order, vectors, seed=settings.seed), held_out, seed=settings.seed)
        times.append(time.monotonic())
        engine = self._engine(trained, len(order))
        # Small batches make threads wait for each other, so they are for orders that matter only.
        batch = None if settings.order == "shuffle" else engine.batch_rows(len(order))
        first, last = np.split(order, [len(order) - held_out])
        engine.add(vectors.blocks(first, batch))
        times.append(time.monotonic())
        queries = vectors.take(last) if probes is None else self._queries(probes)
        origin: Origin = "held-out rows" if probes is None else "queries"
        contents = Contents(vectors, order, rows.ids, settings.metric)
        probe = probe_index(engine, contents, queries, origin, refines=factors(self.refine))
        engine.add(vectors.blocks(last, batch))
        times.append(time.monotonic())
        engine.save(out)
        probe.save(out)
        header = ShardHeader(
            partition_rows=tuple(partition.rows for partition in partitions),
            rows=len(order),
            dimension=self.dimension,
            metric=settings.metric,
            engine=settings.engine,
            factory=self.factory,
            id_column=self.id_column,
        )
        write_shard(out, header, Rows(rows.ids[order], rows.partition[order], rows.row[order], rows.labels))
        times.append(time.monotonic())
        seconds = np.diff(times).round(3).tolist()
        steps = dict(zip(("order", "add", "probe", "save"), seconds, strict=True))
        return DenseStats(rows=len(order), held_out=held_out, order=settings.order, factory=self.factory, steps=steps)

    @override
    def measure(self, shards: Sequence[Path]) -> Measured:
        # All shards are searched together; the value is the one that reaches the target.
        probe = merge_probes([Probe.load(shard) for shard in shards])
        return choose(probe, self.settings.target_recall, exact_from=self.exact_from)

    def _vectors(self, partitions: Sequence[InputPartition]) -> Vectors:
        vectors = Vectors.of(partitions, dimension=self.dimension)
        for partition, new in zip(partitions, np.diff(vectors.starts), strict=True):
            if (rows := new + partition.start) != partition.rows:
                raise CorruptFileError(
                    f"{partition.files['npy']}: {rows} vectors, but the partition has {partition.rows} rows; "
                    "build the embeddings again"
                )
        return vectors

    def _engine(self, trained: Path | None, rows: int) -> Engine:
        """Return an engine without rows."""
        if self.factory is None:
            return HnswlibEngine.create(self.settings, rows, self.dimension)
        if not self.needs_training:
            return FaissEngine(make_index(self.factory, self.dimension, self.settings.metric), self.settings.metric)
        if trained is None:
            raise ValueError(f"factory {self.factory} is trained before it is built: give `trained`")
        return FaissEngine(read_index(trained / TRAINED), self.settings.metric)

    def _queries(self, path: Path) -> Float32s:
        path = path / QUERIES if path.is_dir() else path
        queries = np.load(path, allow_pickle=False)
        if queries.shape[1:] != (self.dimension,) or not len(queries) or not np.isfinite(queries).all():
            raise QueryError(
                f"{path}: expected one or more finite vectors of {self.dimension} dimensions, found {queries.shape}; "
                "encode the questions of `queries` with the model of the index's vectors"
            )
        chosen = sample_rows(len(queries), MOST_PROBES, seed=self.settings.seed)
        return np.ascontiguousarray(queries[chosen], dtype=np.float32)
