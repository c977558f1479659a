"""The folder of a running build: its steps, and lists of inputs that are too long to travel."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from mnemodex.pipelines.messages import Unit
from mnemodex.pipelines.plan import order
from mnemodex.pipelines.worker import step_file
from mnemodex.schemas.errors import ObjectStoreError
from mnemodex.schemas.manifest import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnemodex.pipelines.unit import Draft
    from mnemodex.schemas.manifest import Artifact
    from mnemodex.schemas.steps import Step
    from mnemodex.schemas.store.store import Store
    from mnemodex.schemas.tables import TableKey, TableSpec

_LISTED = 32
"""Inputs that travel with a unit; longer lists are files."""


class RunFiles:
    """See the module; declared tables are those of plug-ins.

    Attributes:
        run: the folder below the memory.
    """

    def __init__(self, store: Store, declared: Mapping[TableKey, TableSpec]) -> None:
        self._store = store
        self._declared = declared
        self.run = store.files.attempt("run").relative_to(store.files.scratch).as_posix()
        self._steps: set[str] = set()
        self._lists: set[str] = set()

    def add(self, step: Step) -> bool:
        """Write a step for workers; return whether it was not written before."""
        if step.name in self._steps:
            return False
        self._steps.add(step.name)
        self._store.files.put(step_file(self.run, step.name), order(step, self._declared).model_dump_json().encode())
        return True

    def unit(self, step: Step, draft: Draft, name: str) -> Unit:
        """Return a unit as it travels."""
        return Unit(
            step=step.name,
            label=draft.label,
            fingerprint=name,
            inputs=tuple(self._places(parts) for parts in draft.inputs),
            bucket=draft.bucket,
            buckets=draft.buckets,
            piece=draft.piece,
            source=draft.source.data if draft.source else "",
            starts=draft.starts,
            affinity=draft.source.affinity if draft.source else "",
        )

    def remove(self) -> None:
        """Remove the folder; where an object store does not answer, later builds do."""
        with contextlib.suppress(ObjectStoreError):
            self._store.files.delete(self.run)

    def _places(self, parts: list[Artifact]) -> tuple[str, ...]:
        places = [part.place for part in parts]
        if len(places) <= _LISTED:
            return tuple(places)
        name = f"list-{fingerprint(places)}"
        if name not in self._lists:
            self._lists.add(name)
            self._store.files.put(f"{self.run}/{name}.json", json.dumps(places).encode())
        return (f"@{name}",)
