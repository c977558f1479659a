"""The job of extraction: a partition of chunks becomes one of triples, and what was bad a partition of errors."""

from __future__ import annotations

import time
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from mnemodex.pipelines.extractors import make_extractor
from mnemodex.pipelines.extractors.base import Passages, Problem
from mnemodex.pipelines.extractors.judge import Judge
from mnemodex.pipelines.jobs import write_partition
from mnemodex.pipelines.resources import Resources
from mnemodex.schemas.ids import hash_columns
from mnemodex.schemas.manifest import Artifact
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import ERRORS, TRIPLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.extractors.base import Extraction
    from mnemodex.pipelines.extractors.judge import Triple
    from mnemodex.pipelines.jobs import Unit
    from mnemodex.schemas.store.store import Store

VERSION = 1
"""Of what is done with the triples of any extractor."""

_BATCH = 256
"""Documents that are given to an extractor at once."""

_CHUNKS = ("chunk_id", "doc_id", "title", "text")


class TriplesJob:
    """Extracts the triples of one partition of chunks.

    Settings: `extractor` (its name), `settings` (of the recipe), `id_salt`. A unit's payload: `chunks` and `documents`
    (artifacts), and `given` (a path below the memory that was set aside for this partition, or None).
    """

    resources: ClassVar[Resources] = Resources()

    def __init__(self, store: Store, settings: dict[str, Any]) -> None:
        self._store = store
        self._name: str = settings["extractor"]
        self._salt: str = settings["id_salt"]
        self._extractor = make_extractor(self._name, settings["settings"], store)

    def setup(self, cpus: int) -> None:
        """See `Job.setup`."""
        self._extractor.setup(cpus)

    def run(self, unit: Unit) -> list[Artifact]:
        """See `Job.run`; the errors are published first, so that found triples have their errors."""
        started, spent = time.perf_counter(), time.process_time()
        given = unit.payload["given"]
        self._extractor.begin(self._store.files.local(given) if given else None)
        judge = Judge(salt=self._salt)
        problems: list[Problem] = []
        counts = Counter[str](documents=0, chunks=0, characters=0, failed=0, without=0)
        attempt = self._store.files.attempt()
        rows = write_partition(attempt, TRIPLES, self._batches(unit, judge, problems, counts))
        facts = {
            **counts,
            **judge.counts,
            **self._extractor.facts(),
            "errors": len(problems),
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - spent,
        }
        if problems:
            publish_errors(self._store, f"triples-{unit.label}", unit.fingerprint, problems)
        return [self._store.publish(attempt, unit.folder, unit.label, unit.fingerprint, rows=rows, facts=facts)]

    def _batches(
        self, unit: Unit, judge: Judge, problems: list[Problem], counts: Counter[str]
    ) -> Iterator[pa.RecordBatch]:
        for ids, documents in self._documents(unit):
            rows: list[tuple[int, int, Triple]] = []
            for chunk_ids, found in zip(ids, self._extractor.extract(documents), strict=True):
                problems += found.problems
                kept, bad = _judged(chunk_ids, found, judge)
                rows += kept
                problems += bad
                counts.update(failed=len(found.problems), without=not kept)
            texts = [text for document in documents for text in document.texts]
            counts.update(documents=len(documents), chunks=len(texts), characters=sum(map(len, texts)))
            yield _record_batch(rows, self._name, self._salt)

    def _documents(self, unit: Unit) -> Iterator[tuple[list[list[int]], list[Passages]]]:
        """Batches of documents with the ids of their chunks; the chunks of a document stand together."""
        chunks, documents = (Artifact.model_validate(unit.payload[name]) for name in ("chunks", "documents"))
        table = parquet.read(self._path(documents), columns=["doc_id", "source", "line"])
        places = dict(
            zip(
                table["doc_id"].to_pylist(),
                zip(table["source"].to_pylist(), table["line"].to_pylist(), strict=True),
                strict=True,
            )
        )
        ids: list[list[int]] = []
        batch: list[Passages] = []
        for doc_id, group in groupby(_rows(self._path(chunks)), key=lambda row: row[1]):
            rows = list(group)
            if len(batch) == _BATCH:
                yield ids, batch
                ids, batch = [], []
            ids.append([row[0] for row in rows])
            batch.append(Passages(doc_id, rows[0][2], tuple(row[3] for row in rows), *places[doc_id]))
        if batch:
            yield ids, batch

    def _path(self, artifact: Artifact) -> Any:
        return self._store.files.check(artifact.file(".parquet"))


class OneTriplesJob(TriplesJob):
    """A `TriplesJob` in one actor whatever the cluster has: a server is asked so many questions at once, not more."""

    resources: ClassVar[Resources] = Resources(alone=True)


def _rows(path: Any) -> Iterator[tuple[Any, ...]]:
    for batch in parquet.read_batches(path, columns=_CHUNKS, rows=512):
        yield from zip(*(batch[name].to_pylist() for name in _CHUNKS), strict=True)


def _judged(
    chunk_ids: list[int], found: Extraction, judge: Judge
) -> tuple[list[tuple[int, int, Triple]], list[Problem]]:
    """The usable triples of a document as (chunk_id, ordinal, triple), and why the others are not."""
    kept: list[tuple[int, int, Triple]] = []
    bad: list[Problem] = []
    for chunk_id, triples in zip(chunk_ids, found.triples, strict=True):
        ordinal = 0
        for judged in map(judge, triples):
            if isinstance(judged, Problem):
                bad.append(judged)
                continue
            kept.append((chunk_id, ordinal, judged))
            ordinal += 1
    return kept, bad


def _record_batch(rows: list[tuple[int, int, Triple]], extractor: str, salt: str) -> pa.RecordBatch:
    chunk_ids = np.array([chunk_id for chunk_id, _, _ in rows], np.int64)
    ordinals = np.array([ordinal for _, ordinal, _ in rows], np.int64)
    triples = [triple for _, _, triple in rows]
    columns: dict[str, Any] = {
        "triple_id": hash_columns([chunk_ids, ordinals], salt=salt),
        "chunk_id": chunk_ids,
        "ordinal": ordinals.astype(np.int32),
        "extractor": [extractor] * len(rows),
    }
    parts = [
        columns.get(field.name, [getattr(triple, field.name, None) for triple in triples]) for field in TRIPLES.schema
    ]
    arrays = [pa.array(part, field.type) for part, field in zip(parts, TRIPLES.schema, strict=True)]
    return pa.record_batch(arrays, schema=TRIPLES.schema)


def publish_errors(store: Store, label: str, fingerprint: str, problems: list[Problem]) -> Artifact:
    """A partition of the `errors` table."""
    attempt = store.files.attempt()
    rows = [
        {"stage": "triples", "source": bad.source, "line": bad.line, "reason": bad.reason, "content": bad.content}
        for bad in problems
    ]
    write_partition(attempt, ERRORS, pa.Table.from_pylist(rows, ERRORS.schema).to_batches())
    return store.publish(attempt, "tables/errors", label, fingerprint, rows=len(rows))
