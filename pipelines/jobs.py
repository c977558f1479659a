"""Jobs: what an actor does with one unit of work. They publish write-once results and know nothing of Ray."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from mnemodex.indexers.base import InputPartition
from mnemodex.indexers.encoder import Encoder
from mnemodex.pipelines.resources import Resources
from mnemodex.retrievers.queries import read_queries
from mnemodex.schemas.manifest import Artifact
from mnemodex.schemas.recipe import Embedding
from mnemodex.schemas.store import parquet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

    from mnemodex.schemas.store.store import Store
    from mnemodex.schemas.tables import Table


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of work: where its result is published, and what the job needs for it.

    It travels as JSON and is small: paths, never arrays.
    """

    folder: str
    label: str
    fingerprint: str
    payload: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """One string, as it travels to an actor."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Unit:
        """The inverse of `to_json`."""
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job by name, so that only short strings travel: `module:Class` and its JSON settings."""

    job: str
    settings: dict[str, Any]

    def load(self, store: Store) -> Job:
        """Make the job."""
        module, _, name = self.job.partition(":")
        made: Job = getattr(import_module(module), name)(store, self.settings)
        return made

    @property
    def resources(self) -> Resources:
        """What its actors need, known without making one."""
        module, _, name = self.job.partition(":")
        needed: Resources = getattr(import_module(module), name).resources
        return needed


class Job(Protocol):
    """A job lives in one actor and works on one unit after the other."""

    resources: ClassVar[Resources]

    def setup(self, cpus: int) -> None:
        """Load what is needed once (a model), for so many CPU threads."""

    def run(self, unit: Unit) -> list[Artifact]:
        """Compute a unit and publish its results. May be called again for a unit whose former actor died."""


def write_partition(folder: Path, table: Table, batches: Iterable[pa.RecordBatch]) -> int:
    """Write a partition's Parquet file, and for a table of vectors the same matrix as `.npy`; returns the rows."""
    if "vector" not in table.schema.names:
        return parquet.write(folder / "data.parquet", table, batches)
    dimension = table.schema.field("vector").type.list_size
    vectors: list[np.ndarray[Any, np.dtype[np.float32]]] = [np.zeros((0, dimension), np.float32)]

    def tee() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            vectors.append(batch["vector"].flatten().to_numpy().reshape(-1, dimension))
            yield batch

    rows = parquet.write(folder / "data.parquet", table, tee())
    np.save(folder / "data.npy", np.concatenate(vectors), allow_pickle=False)
    return rows


class TableJob:
    """Runs a stage over one partition of a table.

    Settings: `stage` (its name in the registry), `settings` (of the stage).
    """

    resources: ClassVar[Resources] = Resources()

    def __init__(self, store: Store, settings: dict[str, Any]) -> None:
        from mnemodex.pipelines.stages.registry import make_stage

        self._store = store
        self._stage = make_stage(settings["stage"], settings["settings"])

    def setup(self, cpus: int) -> None:
        """See `Job.setup`."""
        self._stage.setup(cpus)

    def run(self, unit: Unit) -> list[Artifact]:
        """See `Job.run`; the payload is the input partition's artifact as `input`."""
        started, spent = time.perf_counter(), time.process_time()
        source = Artifact.model_validate(unit.payload["input"])
        path = self._store.files.check(source.file(".parquet"))
        attempt = self._store.files.attempt()
        batches = parquet.read_batches(path, columns=self._stage.columns)
        rows = write_partition(attempt, self._stage.table, self._stage.run(batches))
        facts = {
            **self._stage.facts(),
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - spent,
        }
        return [self._store.publish(attempt, unit.folder, unit.label, unit.fingerprint, rows=rows, facts=facts)]


class ModelTableJob(TableJob):
    """A `TableJob` whose stage runs a model: a GPU an actor where there is one, else all CPUs shared out."""

    resources: ClassVar[Resources] = Resources(gpu=True, threads=True)


class IndexJob:
    """Runs one step of an indexer.

    Settings: `type`, `settings`, `rows`, `facts` of the table. A unit's payload: `step`, `inputs` (artifacts of
    partitions or of shards), `beside` (for each input, artifacts by table), `whole` (all artifacts of further tables),
    `extras` (artifacts of other steps by argument name).
    """

    resources: ClassVar[Resources] = Resources(gpu=True, threads=True)

    def __init__(self, store: Store, settings: dict[str, Any]) -> None:
        from mnemodex.indexers.registry import make_indexer

        self._store = store
        self._indexer: Any = make_indexer(**settings)

    def setup(self, cpus: int) -> None:
        """See `Job.setup`."""
        self._indexer.setup(cpus)

    def run(self, unit: Unit) -> list[Artifact]:
        """See `Job.run`."""
        started = time.perf_counter()
        inputs = [Artifact.model_validate(item) for item in unit.payload["inputs"]]
        extras: dict[str, Any] = {
            name: self._input(Artifact.model_validate(item)) for name, item in unit.payload["extras"].items()
        }
        if unit.payload["whole"]:
            extras["tables"] = {
                table: [self._partition(Artifact.model_validate(item), {}) for item in parts]
                for table, parts in unit.payload["whole"].items()
            }
        attempt = self._store.files.attempt()
        step = getattr(self._indexer, unit.payload["step"])
        given = [
            self._folder(item) if item.files[0].path.startswith("indexes/") else self._partition(item, beside)
            for item, beside in zip(inputs, unit.payload["beside"], strict=True)
        ]
        facts = {**step(given, attempt, **extras), "seconds": time.perf_counter() - started}
        rows = int(facts.pop("rows", 0))
        return [self._store.publish(attempt, unit.folder, unit.label, unit.fingerprint, rows=rows, facts=facts)]

    def _input(self, artifact: Artifact) -> Path:
        """An extra input as a path: a shard's folder, or the one file of what is kept among the tables."""
        folder = self._folder(artifact)
        return (
            folder if artifact.files[0].path.startswith("indexes/") else self._store.files.local(artifact.files[0].path)
        )

    def _folder(self, artifact: Artifact) -> Path:
        paths = [self._store.files.check(file) for file in artifact.files]
        return paths[0].parent

    def _partition(self, artifact: Artifact, beside: dict[str, Any]) -> InputPartition:
        files = {file.path.rpartition(".")[2]: self._store.files.check(file) for file in artifact.files}
        others = {table: self._partition(Artifact.model_validate(part), {}) for table, part in beside.items()}
        return InputPartition(artifact.label, artifact.rows, files, others)


class QueriesJob:
    """Encodes a query file, so that recall is measured with real questions.

    A unit's payload: `path`, `spec` (of the embedding).
    """

    resources: ClassVar[Resources] = Resources(gpu=True, threads=True)

    def __init__(self, store: Store, settings: dict[str, Any]) -> None:
        self._store = store

    def setup(self, cpus: int) -> None:
        """See `Job.setup`."""
        self._cpus = cpus

    def run(self, unit: Unit) -> list[Artifact]:
        """See `Job.run`; writes `queries.npy`, float32 of shape (queries, dimension)."""
        encoder = Encoder(Embedding.model_validate(unit.payload["spec"]), threads=self._cpus)
        texts = [query.question for query in read_queries(Path(unit.payload["path"]))]
        attempt = self._store.files.attempt()
        np.save(attempt / "queries.npy", encoder.encode_queries(texts), allow_pickle=False)
        return [self._store.publish(attempt, unit.folder, unit.label, unit.fingerprint, rows=len(texts))]
