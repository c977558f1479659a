"""Engines: what computes units. This process where little is to be computed, else Ray."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from typing_extensions import override

from mnemodex.pipelines.messages import Answer, Done, Failure, Unit
from mnemodex.pipelines.worker import Worker
from mnemodex.schemas import errors
from mnemodex.schemas.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mnemodex.pipelines.progress import Progress
    from mnemodex.pipelines.results import BuildResults
    from mnemodex.pipelines.unit import Draft
    from mnemodex.schemas.manifest import Artifact
    from mnemodex.schemas.steps import Step
    from mnemodex.schemas.store.store import Store


LOCAL_SECONDS = 20.0
"""CPU seconds of work that are sooner done in this process than by a Ray that is still to be started."""


class Engine(Protocol):
    """Computes units.

    Attributes:
        name: what the closing line calls it.
        start_seconds: what starting it took.
    """

    name: str
    start_seconds: float

    @property
    def busy(self) -> int:
        """Units that were submitted and not answered."""

    def has_room(self, step: Step, units: int) -> bool:
        """Whether another unit of a step can be worked on now; so many are still to be computed, as far as is known."""

    def submit(self, step: Step, unit: Unit) -> None:
        """Begin to work on a unit."""

    def wait(self, progress: Progress) -> Iterable[Answer]:
        """Wait until units are finished; tell the progress of the others."""

    def close(self) -> None:
        """End all work."""


class LocalEngine(Engine):
    """Works on one unit after the other, in this process with all of its CPUs; for the arguments see `Worker`."""

    name = "this process"
    start_seconds = 0.0

    def __init__(self, store: Store, run: str, *, cpus: int, objects: Mapping[str, Any]) -> None:
        self._worker = Worker(store, run, cpus=cpus, objects=objects)
        self._units: deque[Unit] = deque()

    @property
    @override
    def busy(self) -> int:
        return len(self._units)

    @override
    def has_room(self, step: Step, units: int) -> bool:
        return not self._units

    @override
    def submit(self, step: Step, unit: Unit) -> None:
        self._units.append(unit)

    @override
    def wait(self, progress: Progress) -> Iterable[Answer]:
        unit = self._units.popleft()
        return [self._worker(unit, lambda rows: progress.rows(unit, rows))]

    @override
    def close(self) -> None:
        self._units.clear()


def artifacts_of(answer: Answer) -> Sequence[Artifact]:
    """Return the results of a unit.

    Raises:
        MnemodexError: of the class that the worker met, with the worker's traceback as its cause.
    """
    result: Done | Failure = answer.result
    if isinstance(result, Done):
        return result.artifacts
    raised: Exception = getattr(errors, result.kind)(result.message)
    raise raised from RuntimeError(result.detail)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a build is computed.

    Attributes:
        address: of a Ray cluster, which is then used.
        local: whether this process is used in any case.
        runtime_env: Ray's runtime environment of the workers; with one, Ray is used.

    Raises:
        UserError: the build is to be computed in this process and on Ray.
    """

    address: str | None = None
    local: bool = False
    runtime_env: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.local and self.address is not None:
            raise UserError("--local computes in this process and --address on a cluster; give one of them")
        if self.local and self.runtime_env is not None:
            raise UserError("--local computes in this process and --runtime-env is for Ray; give one of them")


def choose_engine(store: Store, run: str, work: float, *, place: Place, objects: Mapping[str, Any]) -> Engine:
    """Return the engine of a build of so many CPU seconds, roughly; for the other arguments see `Worker`."""
    small = place.address is None and place.runtime_env is None and work < LOCAL_SECONDS
    if place.local or small:
        return LocalEngine(store, run, cpus=len(os.sched_getaffinity(0)), objects=objects)
    from mnemodex.pipelines.ray_engine import RayEngine

    return RayEngine(store, run, address=place.address, runtime_env=place.runtime_env, objects=objects)


def estimate(results: BuildResults, todo: Mapping[str, Sequence[Draft]]) -> float:
    """Return the CPU seconds that a build takes, roughly: what is read first, by what every step takes of it."""
    size = max((sum(map(_bytes, drafts)) for drafts in todo.values()), default=0)
    return size / 1e6 * sum(step.op.seconds_per_megabyte for step in results.steps.values() if not step.complete)


def _bytes(draft: Draft) -> int:
    if draft.source is not None:
        return draft.source.bytes
    return sum(part.bytes for parts in draft.inputs[:1] for part in parts)
