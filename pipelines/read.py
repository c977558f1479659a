"""Reading a source: splits become documents, bad rows go to the `errors` table, duplicates are dropped."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from mnemodex.pipelines.jobs import write_partition
from mnemodex.pipelines.resources import Resources
from mnemodex.pipelines.sources import open_source
from mnemodex.pipelines.sources.base import BadRow, Record, Split
from mnemodex.schemas.ids import hash_text
from mnemodex.schemas.manifest import Artifact
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import DOCUMENTS, ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mnemodex.pipelines.jobs import Unit
    from mnemodex.schemas.store.store import Store

_BATCH = 1024


class ReadJob:
    """Reads splits of one file in one pass.

    Settings: `path`, `fields`, `format` of the source, `id_salt`. A unit's payload: `splits`, each with `split` (JSON)
    and `fingerprint`.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    def __init__(self, store: Store, settings: dict[str, Any]) -> None:
        self._store = store
        self._salt: str = settings["id_salt"]
        self._source = open_source(Path(settings["path"]), fields=settings["fields"], format=settings["format"])

    def setup(self, cpus: int) -> None:
        """See `Job.setup`."""

    def run(self, unit: Unit) -> list[Artifact]:
        """See `Job.run`.

        The errors of a split are published before its documents, so that found documents have their errors.
        """
        fingerprints = {item["split"]: item["fingerprint"] for item in unit.payload["splits"]}
        splits = [Split.from_json(text) for text in fingerprints]
        done = []
        for split, records in self._source.read(splits):
            started = time.perf_counter()
            fingerprint = fingerprints[split.to_json()]
            bad: list[BadRow] = []
            attempt = self._store.files.attempt()
            rows = write_partition(attempt, DOCUMENTS, _documents(records, bad, self._salt))
            if bad:
                self._publish_errors(split.label, fingerprint, bad)
            facts = {"errors": len(bad), "seconds": time.perf_counter() - started}
            done.append(
                self._store.publish(attempt, "tables/documents", split.label, fingerprint, rows=rows, facts=facts)
            )
        return done

    def _publish_errors(self, label: str, fingerprint: str, bad: list[BadRow]) -> None:
        attempt = self._store.files.attempt()
        rows = [
            {"stage": "documents", "source": row.source, "line": row.line, "reason": row.reason, "content": row.content}
            for row in bad
        ]
        write_partition(attempt, ERRORS, pa.Table.from_pylist(rows, ERRORS.schema).to_batches())
        self._store.publish(attempt, "tables/errors", f"documents-{label}", fingerprint, rows=len(rows))


def _documents(records: Iterable[Record | BadRow], bad: list[BadRow], salt: str) -> Iterator[pa.RecordBatch]:
    """Records as batches of the documents table; bad rows are put into `bad`."""
    rows: list[tuple[Any, ...]] = []
    for record in records:
        if isinstance(record, BadRow):
            bad.append(record)
            continue
        rows.append(_row(record, salt))
        if len(rows) == _BATCH:
            yield _batch(rows)
            rows = []
    if rows:
        yield _batch(rows)


def _row(record: Record, salt: str) -> tuple[Any, ...]:
    metadata = json.dumps(record.metadata, sort_keys=True, ensure_ascii=False)
    content = content_hash(record.title, record.text, metadata)
    doc_id = hash_text(record.key, content, salt=salt)
    return doc_id, record.key, record.title, record.text, metadata, content, record.source, record.line


def content_hash(title: str, text: str, metadata: str) -> str:
    """SHA-256 of a document without its key; `metadata` is its JSON."""
    return hashlib.sha256(f"{title}\0{text}\0{metadata}".encode()).hexdigest()


def _batch(rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = [
        pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), DOCUMENTS.schema, strict=True)
    ]
    return pa.record_batch(columns, schema=DOCUMENTS.schema)


class DeduplicateJob:
    """Writes a documents partition again without some rows.

    A unit's payload: `input` (an artifact), `rows` (their positions).
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    def __init__(self, store: Store, settings: dict[str, Any]) -> None:
        self._store = store

    def setup(self, cpus: int) -> None:
        """See `Job.setup`."""

    def run(self, unit: Unit) -> list[Artifact]:
        """See `Job.run`."""
        source = Artifact.model_validate(unit.payload["input"])
        path = self._store.files.check(source.file(".parquet"))
        attempt = self._store.files.attempt()
        rows = write_partition(attempt, DOCUMENTS, _without(parquet.read_batches(path), unit.payload["rows"]))
        facts = {**source.facts, "repeated": len(unit.payload["rows"]), "of": source.fingerprint}
        return [self._store.publish(attempt, unit.folder, unit.label, unit.fingerprint, rows=rows, facts=facts)]


def _without(batches: Iterable[pa.RecordBatch], rows: list[int]) -> Iterator[pa.RecordBatch]:
    start = 0
    for batch in batches:
        keep = ~np.isin(np.arange(start, start + batch.num_rows), rows)
        start += batch.num_rows
        yield batch.filter(pa.array(keep))
