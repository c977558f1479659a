"""Synonyms of entities, and the edges of the graph: one row for each pair of nodes and kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from mnemodex.pipelines.graph.names import id_range
from mnemodex.pipelines.graph.sql import ask, paths
from mnemodex.pipelines.jobs import write_partition
from mnemodex.pipelines.resources import Resources
from mnemodex.schemas.errors import CorruptFileError
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import EDGES, SYNONYMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mnemodex.indexers.graph.synonyms import Synonyms
    from mnemodex.pipelines.jobs import Unit
    from mnemodex.schemas.manifest import Artifact
    from mnemodex.schemas.store.store import Store

_BATCH = 65_536

_EDGES = """
WITH joined AS (
    SELECT least(subject_id, object_id) AS source_id, greatest(subject_id, object_id) AS target_id, 'fact' AS kind,
        count(*)::FLOAT AS weight
    FROM triples WHERE subject_id <> object_id GROUP BY ALL
    UNION ALL SELECT entity_id, chunk_id, 'mention', 1 FROM mentions
    {synonyms}
)
SELECT source_id, target_id, kind, weight FROM joined WHERE source_id BETWEEN ? AND ?
ORDER BY source_id, target_id, kind
"""


_SYNONYMS = "UNION ALL SELECT source_id, target_id, 'synonym', weight FROM synonyms WHERE kept"


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

    def run(self, unit: Unit) -> list[Artifact]:
        """See `Job.run`."""
        from mnemodex.indexers.graph.synonyms import Synonyms, comparable, pairs, strongest

        entities = self._read(unit.payload["entities"], ["entity_id", "normalized"])
        ids = entities["entity_id"].to_numpy()
        vectors = self._vectors(unit.payload["vectors"])
        known, there = self._known(unit.payload["former"], ids)
        compared = comparable(entities["normalized"].chunk(0)) if len(ids) else np.zeros(0, np.bool_)
        new, old = np.flatnonzero(compared & ~there), np.flatnonzero(compared & there)
        parts = [known, *pairs(vectors, new, old, unit.payload["threshold"])]
        left, right, cosine = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((right, left))
        found = Synonyms(left[order], right[order], cosine[order])
        columns = (ids[found.left], ids[found.right], found.cosine, strongest(found, len(ids)))
        attempt = self._store.files.attempt()
        rows = write_partition(attempt, SYNONYMS, _batches(columns))
        facts = {"compared": len(new)}
        return [self._store.publish(attempt, unit.folder, unit.label, unit.fingerprint, rows=rows, facts=facts)]

    def _vectors(self, artifacts: list[Any]) -> NDArray[np.float32]:
        """The vectors of all partitions; a single one, as it mostly is, stays on disk."""
        parts = [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths(self._store, artifacts, ".npy")]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _known(self, former: dict[str, Any] | None, ids: NDArray[np.int64]) -> tuple[Synonyms, NDArray[np.bool_]]:
        """The former pairs of entities that are still there, and which entities were there."""
        from mnemodex.indexers.graph.synonyms import Synonyms

        none = np.zeros(0, np.int32)
        nothing = Synonyms(none, none, np.zeros(0, np.float32)), np.zeros(len(ids), np.bool_)
        if former is None:
            return nothing
        try:
            there = self._read(former["entities"], ["entity_id"])["entity_id"].to_numpy()
            rows = self._read(former["synonyms"], ["source_id", "target_id", "weight"])
        except CorruptFileError:
            # They would only have saved work.
            return nothing
        ends = [rows[name].to_numpy() for name in ("source_id", "target_id")]
        kept = np.isin(ends[0], ids) & np.isin(ends[1], ids)
        left, right = (np.searchsorted(ids, end[kept]).astype(np.int32) for end in ends)
        return Synonyms(left, right, rows["weight"].to_numpy()[kept]), np.isin(ids, there)

    def _read(self, artifacts: list[Any], columns: list[str]) -> pa.Table:
        return pa.concat_tables(
            [parquet.read(path, columns=columns) for path in paths(self._store, artifacts)]
        ).combine_chunks()


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
        tables = {name: unit.payload[name] for name in ("triples", "mentions", "synonyms")}
        bounds = id_range(unit.payload["bucket"], unit.payload["buckets"])
        query = _EDGES.replace("{synonyms}", _SYNONYMS if tables["synonyms"] else "")
        attempt = self._store.files.attempt()
        rows = write_partition(attempt, EDGES, _cast(ask(self._store, query, bounds, tables, threads=self._cpus)))
        return [self._store.publish(attempt, unit.folder, unit.label, unit.fingerprint, rows=rows)]


def _cast(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield from pa.Table.from_batches([batch]).cast(EDGES.schema).to_batches()
