"""The graph's tables of a build: each found under its fingerprint or computed, as far as it can from what is new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.graph.edges import EdgesJob, SynonymsJob
from mnemodex.pipelines.graph.names import NamesJob
from mnemodex.pipelines.graph.vectors import COLUMNS, NameVectorsJob
from mnemodex.pipelines.jobs import JobSpec, Unit
from mnemodex.schemas.manifest import Artifact, TableEntry, fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.pipelines.engine import Engine
    from mnemodex.pipelines.progress import Progress
    from mnemodex.schemas.manifest import Manifest
    from mnemodex.schemas.store.store import Store

_BUCKET_ROWS = 1 << 20
"""Triples of one range of ids."""

Tables = dict[str, TableEntry]


class GraphTables:
    """Makes facts, entities, their vectors, synonyms and edges of the triples and mentions.

    Args:
        store: the memory.
        engine: runs the work.
        progress: follows it.
        former: the current snapshot, from which vectors and synonyms of what is still there are taken.
    """

    def __init__(self, store: Store, engine: Engine, progress: Progress, former: Manifest | None) -> None:
        self._store = store
        self._engine = engine
        self._progress = progress
        self._former = former

    def names(self, triples: TableEntry, mentions: TableEntry) -> Tables:
        """The tables `facts` and `entities`."""
        buckets = _buckets(triples)
        decisive = ["names", NamesJob.version, _fingerprints(triples), _fingerprints(mentions), buckets]
        units = [
            Unit(
                "tables/facts",
                f"{bucket:05d}",
                fingerprint(*decisive, bucket),
                {"triples": _json(triples), "mentions": _json(mentions), "bucket": bucket, "buckets": buckets},
            )
            for bucket in range(buckets)
        ]
        return self._run("facts and entities", _spec("names:NamesJob"), units, ("facts", "entities"))

    def vectors(self, name: str, model: dict[str, Any], names: Tables) -> Tables:
        """The tables `embeddings/NAME/facts` and `embeddings/NAME/entities`.

        Args:
            name: the embedding.
            model: what the manifest says of it.
            names: those of its tables that are to be encoded.
        """
        spec = model["settings"]
        decisive = {key: spec[key] for key in spec if key not in ("model", "query_prefix", "with_title")}
        former = self._former
        same = former is not None and former.models.get(name) == model
        found: Tables = {}
        for table in COLUMNS.keys() & names.keys():
            place = f"embeddings/{name}/{table}"
            known = former.tables.get(place) if former is not None and same else None
            units = [
                Unit(
                    f"tables/{place}",
                    part.label,
                    fingerprint("name vectors", NameVectorsJob.version, decisive, model["sha256"], part.fingerprint),
                    {"table": table, "input": part.model_dump(mode="json"), "former": _json(known)},
                )
                for part in names[table].partitions
            ]
            settings = {"name": name, "spec": spec}
            found |= self._run(place, _spec("vectors:NameVectorsJob", settings), units, (place,))
        return found

    def synonyms(self, name: str, names: Tables, vectors: Tables, threshold: float) -> TableEntry:
        """The table `synonyms`: pairs of entities whose names' cosine is `threshold` or more."""
        entities, place = names["entities"], f"embeddings/{name}/entities"
        decisive = ["synonyms", SynonymsJob.version, _fingerprints(vectors[place]), threshold]
        payload = {
            "entities": _json(entities),
            "vectors": _json(vectors[place]),
            "threshold": threshold,
            "former": self._known_synonyms(vectors[place], threshold, place),
        }
        unit = Unit("tables/synonyms", "all", fingerprint(*decisive), payload)
        return self._run("synonyms", _spec("edges:SynonymsJob"), [unit], ("synonyms",))["synonyms"]

    def _known_synonyms(self, vectors: TableEntry, threshold: float, place: str) -> dict[str, Any] | None:
        """The former synonyms, where they were found by the same model and threshold."""
        former = self._former
        if former is None or not {"synonyms", "entities", place} <= former.tables.keys():
            return None
        before = fingerprint("synonyms", SynonymsJob.version, _fingerprints(former.tables[place]), threshold)
        if [part.fingerprint for part in former.tables["synonyms"].partitions] != [before]:
            return None
        return {"entities": _json(former.tables["entities"]), "synonyms": _json(former.tables["synonyms"])}

    def edges(self, triples: TableEntry, mentions: TableEntry, synonyms: TableEntry | None) -> TableEntry:
        """The table `edges`."""
        buckets = _buckets(triples)
        inputs = {"triples": triples, "mentions": mentions, "synonyms": synonyms}
        fingerprints = {name: _fingerprints(table) if table else [] for name, table in inputs.items()}
        decisive = [EdgesJob.version, fingerprints, buckets]
        payload = {name: _json(table) for name, table in inputs.items()}
        units = [
            Unit(
                "tables/edges",
                f"{bucket:05d}",
                fingerprint("edges", *decisive, bucket),
                {**payload, "bucket": bucket, "buckets": buckets},
            )
            for bucket in range(buckets)
        ]
        return self._run("edges", _spec("edges:EdgesJob"), units, ("edges",))["edges"]

    def _run(self, title: str, spec: JobSpec, units: Sequence[Unit], tables: Sequence[str]) -> Tables:
        """The partitions of tables that units publish under their own label and fingerprint, found or computed."""
        found = {unit.label: self._find(unit, tables) for unit in units}
        todo = [unit for unit in units if found[unit.label] is None]
        done = {part.place: part for parts in found.values() for part in parts or ()}
        if todo:
            self._engine.start()
        each = len(tables)
        with self._progress.stage(
            title, partitions=len(units) * each, found=list(done.values()), todo=len(todo) * each
        ) as stage:
            for artifacts in self._engine.run(spec, todo):
                for artifact in artifacts:
                    done[artifact.place] = artifact
                    stage.done(artifact)
        return {
            table: TableEntry(
                name=table,
                partitions=tuple(done[f"tables/{table}/{unit.label}-{unit.fingerprint}"] for unit in units),
            )
            for table in tables
        }

    def _find(self, unit: Unit, tables: Sequence[str]) -> list[Artifact] | None:
        parts = [self._store.find(f"tables/{table}", unit.label, unit.fingerprint) for table in tables]
        there = [part for part in parts if part is not None]
        return there if len(there) == len(parts) else None


def _spec(job: str, settings: dict[str, Any] | None = None) -> JobSpec:
    return JobSpec(f"mnemodex.pipelines.graph.{job}", settings or {})


def _buckets(triples: TableEntry) -> int:
    """Ranges of ids: a power of two, so that growth halves ranges and moves nothing else."""
    return 1 << max(triples.rows // _BUCKET_ROWS, 0).bit_length()


def _fingerprints(table: TableEntry) -> list[str]:
    return [part.fingerprint for part in table.partitions]


def _json(table: TableEntry | None) -> list[Any]:
    return [] if table is None else [part.model_dump(mode="json") for part in table.partitions]
