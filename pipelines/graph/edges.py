"""Synonyms of entities, and the edges of the graph: one row for each pair of nodes and kind."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from mnemodex.pipelines.graph.names import id_range
from mnemodex.pipelines.graph.sql import stream
from mnemodex.pipelines.jobs import write_partition
from mnemodex.pipelines.resources import Resources
from mnemodex.schemas.manifest import Artifact
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import EDGES, SYNONYMS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from mnemodex.pipelines.jobs import Unit
    from mnemodex.schemas.store.store import Store

_BATCH = 65_536

_EDGES = """
WITH joined AS (
    SELECT least(subject_id, object_id) AS source_id, greatest(subject_id, object_id) AS target_id, 'fact' AS kind,
        count(*)::FLOAT AS weight
    FROM triples WHERE subject_id <> object_id GROUP BY ALL
    UNION ALL SELECT entity_id, chunk_id, 'mention', 1 FROM mentions
    UNION ALL SELECT source_id, target_id, 'synonym', weight FROM synonyms WHERE kept
)
SELECT source_id, target_id, kind, weight FROM joined WHERE source_id BETWEEN ? AND ?
ORDER BY source_id, target_id, kind
"""


class SynonymsJob:
    """Finds the pairs of entities whose names mean nearly the same.

    A unit's payload: `entities` and `vectors` (artifacts, partition by partition), `threshold`; and `former`, the
    artifacts of `entities` and `synonyms` of a snapshot with the same model and threshold, or None: pairs of which both
    ends are there already are taken from it.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(threads=True)

    def __init__(self, store: Store, settings: dict[str, Any]) -> None:
        self._store = store

    def setup(self, cpus: int) -> None:
        """See `Job.setup`."""
        import faiss

        faiss.omp_set_num_threads(cpus)

    def run(self, unit: Unit) -> list[Artifact]:
        """See `Job.run`."""
        from mnemodex.indexers.graph.synonyms import capped, find_pairs

        entities = self._read(unit.payload["entities"], ["entity_id", "normalized"])
        ids, names = entities["entity_id"].to_numpy(), entities["normalized"].to_pylist()
        vectors = np.concatenate(
            [np.load(path, mmap_mode="r") for path in self._paths(unit.payload["vectors"], ".npy")]
        )
        new, pairs, cosines = self._known(unit.payload["former"], ids)
        found, found_cosines = find_pairs(vectors, names, new=new, threshold=unit.payload["threshold"])
        pairs, cosines = np.concatenate([pairs, found]), np.concatenate([cosines, found_cosines])
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        pairs, cosines = pairs[order], cosines[order]
        columns = (ids[pairs[:, 0]], ids[pairs[:, 1]], cosines, capped(pairs, cosines, len(ids)))
        attempt = self._store.files.attempt()
        rows = write_partition(attempt, SYNONYMS, _batches(columns))
        facts = {"compared": len(new)}
        return [self._store.publish(attempt, unit.folder, unit.label, unit.fingerprint, rows=rows, facts=facts)]

    def _known(
        self, former: dict[str, Any] | None, ids: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Places of the entities that are new; the pairs among the others, as places, and their cosines."""
        if former is None:
            return np.arange(len(ids)), np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
        there = self._read(former["entities"], ["entity_id"])["entity_id"].to_numpy()
        pairs = self._read(former["synonyms"], ["source_id", "target_id", "weight"])
        ends = np.stack([pairs[name].to_numpy() for name in ("source_id", "target_id")], axis=1)
        kept = np.isin(ends, ids).all(axis=1)
        places = np.searchsorted(ids, ends[kept])
        return np.flatnonzero(~np.isin(ids, there)), places, pairs["weight"].to_numpy()[kept]

    def _read(self, artifacts: list[Any], columns: list[str]) -> pa.Table:
        return pa.concat_tables(
            [parquet.read(path, columns=columns) for path in self._paths(artifacts, ".parquet")]
        ).combine_chunks()

    def _paths(self, artifacts: list[Any], ending: str) -> list[Path]:
        return [self._store.files.check(Artifact.model_validate(item).file(ending)) for item in artifacts]


def _batches(columns: tuple[NDArray[Any], ...]) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(columns[0]), _BATCH):
        arrays = [pa.array(column[start : start + _BATCH]) for column in columns]
        yield pa.record_batch(arrays, schema=SYNONYMS.schema)


class EdgesJob:
    """Gathers the edges whose sources' ids lie in one range.

    A unit's payload: `triples`, `mentions` and `synonyms` (artifacts), `bucket`, `buckets`.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(threads=True)

    def __init__(self, store: Store, settings: dict[str, Any]) -> None:
        self._store = store

    def setup(self, cpus: int) -> None:
        """See `Job.setup`."""
        self._cpus = cpus

    def run(self, unit: Unit) -> list[Artifact]:
        """See `Job.run`."""
        tables = {
            name: [
                self._store.files.check(Artifact.model_validate(item).file(".parquet")) for item in unit.payload[name]
            ]
            for name in ("triples", "mentions", "synonyms")
        }
        bounds = id_range(unit.payload["bucket"], unit.payload["buckets"])
        scratch, attempt = self._store.files.attempt(), self._store.files.attempt()
        rows = write_partition(
            attempt, EDGES, _cast(stream(_EDGES, bounds, tables, scratch=scratch, threads=self._cpus))
        )
        shutil.rmtree(scratch, ignore_errors=True)
        return [self._store.publish(attempt, unit.folder, unit.label, unit.fingerprint, rows=rows)]


def _cast(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield from pa.Table.from_batches([batch]).cast(EDGES.schema).to_batches()
