"""Engines for tests: the same units on the same workers, without Ray."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING

from mnemodex.pipelines.worker import Worker, result
from mnemodex.schemas.manifest import Artifact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.pipelines.jobs import JobSpec, Unit
    from mnemodex.schemas.store.store import Store


class InlineEngine:
    """Stands in for `mnemodex.pipelines.build.Engine`: one worker, in this process.

    Class attribute `computed` counts the units that ran since a test set it to 0.
    """

    computed = 0

    def __init__(self, store: Store, *, address: str | None = None) -> None:
        self._store = store
        self.start_seconds = 0.0

    def start(self) -> None:
        """Nothing is to be started."""

    def run(self, job: JobSpec, units: Sequence[Unit]) -> Iterator[list[Artifact]]:
        run = f"run-{uuid.uuid4().hex}"
        worker = Worker(str(self._store.root), json.dumps(asdict(job)), 1, run)
        try:
            for unit in units:
                answer = result(worker(unit.to_json()))
                InlineEngine.computed += 1
                yield [Artifact.model_validate(item) for item in answer]
        finally:
            self._store.files.remove(f"work/{run}")

    def close(self) -> None:
        """Nothing was started."""
