"""Ops and stages without a build: tables and files as inputs, one unit after the other in this process."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mnemodex.pipelines.engine import artifacts_of
from mnemodex.pipelines.ops.base import Work
from mnemodex.pipelines.ops.output import write_partition
from mnemodex.pipelines.run_files import RunFiles
from mnemodex.pipelines.unit import Draft
from mnemodex.pipelines.worker import Worker
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.store import Store
from mnemodex.schemas.tables import spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from mnemodex.pipelines.messages import Answer
    from mnemodex.schemas.manifest import Artifact
    from mnemodex.schemas.steps import Key, Step
    from mnemodex.schemas.tables import TableKey, TableSpec


def run_stage(stage: Any, batches: Iterable[pa.RecordBatch], *, objects: Mapping[str, Any] | None = None) -> pa.Table:
    """Set a stage up and run it over the batches of one partition."""
    stage.setup(Work(1, None, objects or {}))
    return pa.Table.from_batches(stage.run(iter(batches)), stage.table.schema)


class Workshop:
    """A memory's folder with one worker, which works on what a test gives it.

    Attributes:
        store: the memory.
        files: what the worker reads of steps.
        told: what the worker said of the rows that are done.
    """

    def __init__(self, root: Path, *, objects: Mapping[str, Any] | None = None) -> None:
        self.store = Store(root)
        self.store.prepare()
        self.files = RunFiles(self.store, {})
        self.told: list[int] = []
        self._objects = dict(objects or {})
        self._numbers = count()
        self._worker = self.another_worker()

    def another_worker(self) -> Worker:
        """A worker that has loaded nothing yet."""
        return Worker(self.store, self.files.run, cpus=1, objects=self._objects)

    def table(
        self, key: TableKey, rows: pa.Table | list[dict[str, Any]], label: str = "p", *, spec: TableSpec | None = None
    ) -> Artifact:
        """Publish rows as a partition."""
        spec = spec or spec_of(key)
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, spec.schema)
        return self.publish(key, label, lambda folder: write_partition(folder, spec, table.to_batches()))

    def publish(
        self, key: Key, label: str, write: Callable[[Path], int | None], *, name: str | None = None
    ) -> Artifact:
        """Publish what `write` writes; it returns the rows."""
        attempt = self.store.files.attempt()
        rows = write(attempt) or 0
        return self.store.publish(attempt, key.path, label, name or f"{next(self._numbers):020d}", rows=rows)

    def answer(
        self, step: Step, *inputs: list[Artifact], label: str = "p", name: str | None = None, **draft: Any
    ) -> Answer:
        """Have the worker compute a unit; `name` is its fingerprint."""
        self.files.add(step)
        unit = self.files.unit(step, Draft(label, list(inputs), **draft), name or f"{next(self._numbers):020d}")
        return self._worker(unit, self.told.append)

    def run(self, step: Step, *inputs: list[Artifact], **options: Any) -> list[Artifact]:
        """The same; the results, or the error."""
        return list(artifacts_of(self.answer(step, *inputs, **options)))

    def read(self, artifact: Artifact, columns: list[str] | None = None) -> pa.Table:
        """The rows of a partition."""
        return parquet.read(self.store.files.local(artifact.file(".parquet")), columns=columns)


def renamed(step: Step, name: str) -> Step:
    """The same step as another one: the worker makes its op again."""
    return replace(step, name=name)
