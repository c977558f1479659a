"""Engines: what computes units. One in this process for small builds; the other is the only door to Ray."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from typing_extensions import override

from mnemodex.pipelines.messages import Answer, Done, Failure, Unit
from mnemodex.pipelines.worker import Worker
from mnemodex.schemas import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mnemodex.pipelines.progress import Progress
    from mnemodex.schemas.manifest import Artifact
    from mnemodex.schemas.steps import Step
    from mnemodex.schemas.store.store import Store


class Engine(Protocol):
    """Computes units.

    Attributes:
        name: what the closing line calls it.
        start_seconds: what starting it took.
        busy: units that were submitted and not answered.
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
    """Works on one unit after the other, in this process with all of its CPUs.

    Args:
        store: the memory.
        run: the folder of the build's steps and lists below the memory.
        cpus: threads of a unit.
        objects: what the caller of `build` passed.
    """

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
