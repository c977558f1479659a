"""Vectors of facts and of entities' names; what the current snapshot has is not encoded again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from mnemodex.indexers.encoder import Encoder
from mnemodex.pipelines.jobs import write_partition
from mnemodex.pipelines.resources import Resources
from mnemodex.pipelines.stages.embed import vector_batch
from mnemodex.schemas.errors import CorruptFileError
from mnemodex.schemas.manifest import Artifact
from mnemodex.schemas.recipe import Embedding
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import name_vectors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mnemodex.pipelines.jobs import Unit
    from mnemodex.schemas.store.store import Store

_WINDOW = 4096
"""Texts that are sorted by length together."""

COLUMNS = {"facts": ("fact_id", "subject", "predicate", "object"), "entities": ("entity_id", "normalized")}
"""The id of each table, and the columns whose words, one after the other, are what is encoded."""


class NameVectorsJob:
    """Encodes one partition of facts or entities.

    Settings: `name` and `spec` of the embedding. A unit's payload: `table` ("facts" or "entities"), `input` (an
    artifact), `former` (artifacts of vectors by the same model, in which ids are looked up first).
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(gpu=True, threads=True)

    def __init__(self, store: Store, settings: dict[str, Any]) -> None:
        self._store = store
        self._name: str = settings["name"]
        self._spec = Embedding.model_validate(settings["spec"])

    def setup(self, cpus: int) -> None:
        """See `Job.setup`."""
        self._encoder = Encoder(self._spec, threads=cpus)

    def run(self, unit: Unit) -> list[Artifact]:
        """See `Job.run`."""
        column, *words = COLUMNS[unit.payload["table"]]
        source = Artifact.model_validate(unit.payload["input"])
        rows = parquet.read(self._store.files.check(source.file(".parquet")), columns=[column, *words])
        ids = rows[column].to_numpy()
        vectors = np.zeros((len(ids), self._encoder.dimension), np.float32)
        todo = self._reuse(unit, column, ids, vectors)
        texts = [self._spec.passage_prefix + " ".join(parts) for parts in zip(*_taken(rows, words, todo), strict=True)]
        for start, found in zip(range(0, len(todo), _WINDOW), self._encode(texts), strict=True):
            vectors[todo[start : start + _WINDOW]] = found
        table = name_vectors(self._name, unit.payload["table"], vectors.shape[1])
        attempt = self._store.files.attempt()
        write_partition(attempt, table, self._batches(table.schema, ids, vectors))
        facts = {"encoded": len(todo), "dimension": vectors.shape[1]}
        return [self._store.publish(attempt, unit.folder, unit.label, unit.fingerprint, rows=len(ids), facts=facts)]

    def _reuse(
        self, unit: Unit, column: str, ids: NDArray[np.int64], vectors: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        """Fill in the vectors that former partitions hold; returns the places of those that none holds."""
        missing = np.ones(len(ids), np.bool_)
        for item in unit.payload["former"]:
            former = Artifact.model_validate(item)
            try:
                path, vectors_path = (self._store.files.check(former.file(ending)) for ending in (".parquet", ".npy"))
            except CorruptFileError:
                # It would only have saved work.
                continue
            known = parquet.read(path, columns=[column])[column].to_numpy()
            matrix = np.load(vectors_path, mmap_mode="r", allow_pickle=False)
            _, here, there = np.intersect1d(ids, known, assume_unique=True, return_indices=True)
            vectors[here] = matrix[there]
            missing[here] = False
        return np.flatnonzero(missing)

    def _batches(
        self, schema: pa.Schema, ids: NDArray[np.int64], vectors: NDArray[np.float32]
    ) -> Iterator[pa.RecordBatch]:
        for start in range(0, len(ids), _WINDOW):
            here = slice(start, start + _WINDOW)
            yield vector_batch(schema, pa.array(ids[here]), vectors[here], name=self._name, model=self._spec.model)

    def _encode(self, texts: list[str]) -> Iterator[NDArray[np.float32]]:
        windows = (texts[start : start + _WINDOW] for start in range(0, len(texts), _WINDOW))
        return self._encoder.encode_windows(windows)


def _taken(rows: pa.Table, words: list[str], places: NDArray[np.int64]) -> list[list[str]]:
    return [rows[word].take(pa.array(places)).to_pylist() for word in words]
