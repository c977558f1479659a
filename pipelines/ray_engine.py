"""The engine on Ray: long-lived workers. The only module of builds that imports Ray."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from mnemodex.pipelines import actor
from mnemodex.pipelines.cluster import last_line, nodes, put, reason_of, start_ray
from mnemodex.pipelines.engine import Engine
from mnemodex.pipelines.messages import Answer, Failure, Unit
from mnemodex.pipelines.placement import AHEAD, Placement
from mnemodex.pipelines.runtime_env import check_start
from mnemodex.schemas.errors import MnemodexError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mnemodex.pipelines.placement import Node, Placed, Shape
    from mnemodex.pipelines.progress import Progress
    from mnemodex.schemas.steps import Resources, Step
    from mnemodex.schemas.store.store import Store

MAX_DEATHS = 3
"""Workers that a unit may kill before it counts as poisoned."""

_POLL_SECONDS = 1.0


class RayEngine(Engine):
    """Starts Ray at the first unit, and workers as there is work of their shape.

    A worker keeps its models for the next unit, of whatever step. It makes room for one of another shape when it has
    nothing to do.

    Args:
        store: as of `Worker`, and so are `run` and `objects`.
        address: of a Ray cluster; a local one of its own by default.
        runtime_env: Ray's runtime environment of the workers.
    """

    name = "Ray"

    def __init__(
        self,
        store: Store,
        run: str,
        *,
        address: str | None,
        objects: Mapping[str, Any],
        runtime_env: Mapping[str, Any] | None = None,
    ) -> None:
        self._store = store
        self._run = run
        self._address = address
        self._runtime_env = runtime_env
        self._objects: Any = dict(objects)
        self._started_here = False
        self._home: dict[str, str] = {}
        self._placement: Placement | None = None
        self._needs: dict[str, tuple[Resources, int]] = {}
        self._shapes: dict[str, Shape] = {}
        self._assigned: dict[tuple[str, str], Placed] = {}
        self._again: deque[Unit] = deque()
        self._running: dict[Any, tuple[Placed, Unit]] = {}
        self._deaths = Counter[tuple[str, str]]()
        self.start_seconds = 0.0

    @property
    @override
    def busy(self) -> int:
        return len(self._running) + len(self._again)

    @override
    def has_room(self, step: Step, units: int) -> bool:
        placement = self._started()
        self._needs.setdefault(step.name, (step.resources, units))
        limit = step.resources.workers
        if limit is not None and sum(unit.step == step.name for _, unit in self._running.values()) >= limit:
            return False
        return placement.has_room(self._shape(step.name))

    @override
    def submit(self, step: Step, unit: Unit) -> None:
        assigned = self._assigned.get((unit.step, unit.affinity)) if unit.affinity else None
        if assigned is None or assigned not in self._started().workers:
            assigned = self._worker(self._shape(step.name))
        self._begin(assigned, unit)

    @override
    def wait(self, progress: Progress) -> Iterator[Answer]:
        import ray

        self._retry()
        try:
            ready, _ = ray.wait(list(self._running), num_returns=1, timeout=_POLL_SECONDS)
            for reference in ready:
                worker, unit = self._running[reference]
                try:
                    text = ray.get(reference)
                except _gone() as error:
                    yield from self._died(worker, error)
                    continue
                del self._running[reference]
                worker.units.remove(unit)
                yield Answer.model_validate_json(text)
        except ray.exceptions.RayError as error:
            raise MnemodexError(
                f"Ray failed ({reason_of(error)}). Run the build again: finished partitions are kept"
            ) from error
        for worker in {id(worker): worker for worker, _ in self._running.values()}.values():
            for unit, rows in _read_rows(self._store, self._run, worker):
                progress.rows(unit, rows)

    @override
    def close(self) -> None:
        if self._placement is None:
            return
        import ray

        for worker in self._placement.workers:
            ray.kill(worker.handle)
        if self._started_here:
            ray.shutdown()
        self._placement = None

    def _started(self) -> Placement:
        """Start Ray, or connect to the cluster, at the first use."""
        if self._placement is None:
            import ray

            began = time.perf_counter()
            self._started_here = start_ray(self._address, self._runtime_env)
            # By value: a node whose package is another one, or has none, must be able to say so.
            ray.cloudpickle.register_pickle_by_value(actor)  # type: ignore[no-untyped-call] # Ray leaves it so
            alive = nodes()
            self._placement = Placement(alive)
            check_start(alive)
            self._home = actor.software()
            if self._objects:
                self._objects = put(self._objects)
            self.start_seconds = time.perf_counter() - began
        return self._placement

    def _shape(self, step: str) -> Shape:
        """Return what a worker of a step has."""
        if step not in self._shapes:
            self._shapes[step] = self._started().shape(*self._needs[step])
        return self._shapes[step]

    def _worker(self, shape: Shape) -> Placed:
        """Return a worker that has nothing to do, a new one if there is none, or one that can be given a unit ahead."""
        placement = self._started()
        while (worker := placement.idle(shape)) is not None:
            # A unit is not to be blamed for the death of a worker that had nothing to do.
            if _lives(worker):
                return worker
            placement.remove(worker)
        room = placement.room(shape)
        if room is None and (busy := placement.ahead(shape)) is not None:
            return busy
        if room is None:
            raise MnemodexError(
                f"no node of the cluster has {shape.cpus} CPUs and {shape.gpus} GPUs for a worker; add a node"
            )
        node, idle = room
        for other in idle:
            self._end(other)
        return self._new(shape, node)

    def _new(self, shape: Shape, node: Node) -> Placed:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        placed = self._started().add(shape, node)
        worker: Any = ray.remote(actor.MnemodexWorker)
        options = worker.options(
            num_cpus=shape.cpus,
            num_gpus=shape.gpus,
            memory=shape.memory or None,
            max_concurrency=AHEAD if shape.gpus else None,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.name, soft=False),
        )
        root, place = str(self._store.root), (node.name[:12], _rows_file(self._run, placed.number))
        placed.handle = options.remote(root, self._run, node.threads(shape), place, self._home, self._objects)
        return placed

    def _begin(self, worker: Placed, unit: Unit) -> None:
        worker.units.append(unit)
        if unit.affinity:
            self._assigned[unit.step, unit.affinity] = worker
        self._running[worker.handle.run.remote(unit.model_dump_json())] = worker, unit

    def _end(self, worker: Placed) -> None:
        import ray

        ray.kill(worker.handle)
        self._started().remove(worker)

    def _died(self, worker: Placed, error: Any) -> Iterator[Answer]:
        """Take a dead worker's units back; yield a failure for one that has killed too many.

        Raises:
            MnemodexError: the worker could not even start.
        """
        import ray

        if getattr(error, "actor_init_failed", False):
            node = worker.node.name[:12]
            raise MnemodexError(
                f"a worker on node {node} could not start ({last_line(error)}). Install the same packages on all nodes"
            ) from error
        self._end(worker)
        self._running = {ref: entry for ref, entry in self._running.items() if entry[0] is not worker}
        # Only the first one was worked on.
        unit, *others = worker.units
        self._again.extend(others)
        alive = nodes()
        self._started().update(alive)
        if all(node.name != worker.node.name for node in alive):
            # The node is gone, which no unit is to be blamed for; what is left may be smaller.
            self._shapes.clear()
            self._again.appendleft(unit)
            return
        self._deaths[unit.step, unit.label] += 1
        died = self._deaths[unit.step, unit.label]
        if died < MAX_DEATHS:
            self._again.appendleft(unit)
            return
        short = isinstance(error, ray.exceptions.OutOfMemoryError)
        why = "Ray stopped it, as its node was short of memory" if short else "out of memory, perhaps"
        message = (
            f"{unit.step} partition {unit.label}: its worker died {died} times ({why}). Use nodes with more memory, or "
            "have fewer workers share it: `ray start --num-cpus N` on each node, and --address"
        )
        failure = Failure(kind="StageFailedError", message=message, detail=str(error))
        yield Answer(step=unit.step, label=unit.label, result=failure)

    def _retry(self) -> None:
        """Begin the units of dead workers on others, as far as there is room."""
        placement = self._started()
        for _ in range(len(self._again)):
            unit = self._again.popleft()
            shape = self._shape(unit.step)
            if self._running and not placement.has_room(shape):
                self._again.append(unit)
            else:
                self._begin(self._worker(shape), unit)


def _rows_file(run: str, number: int) -> str:
    """Return where a worker notes how many rows of its unit are done."""
    return f"{run}/rows/{number}.json"


def _read_rows(store: Store, run: str, worker: Placed) -> Iterator[tuple[Unit, int]]:
    """Yield the unit that a worker is at, and how many of its rows are done."""
    try:
        step, label, rows = json.loads(store.files.read(_rows_file(run, worker.number)))
    except (OSError, ValueError):
        # Not written yet, or being written.
        return
    yield from ((unit, int(rows)) for unit in worker.units if (unit.step, unit.label) == (step, label))


def _gone() -> tuple[type[Exception], ...]:
    """Return what Ray raises where a worker is gone: it died, its node did, or there was too little memory for it."""
    from ray import exceptions

    return exceptions.RayActorError, exceptions.ActorUnschedulableError, exceptions.OutOfMemoryError


def _lives(worker: Placed) -> bool:
    """Return whether a worker that has nothing to do is there; one that does not say so in time is thought to be."""
    import ray

    try:
        ray.get(worker.handle.__ray_ready__.remote(), timeout=_POLL_SECONDS)
    except ray.exceptions.GetTimeoutError:
        return True
    except _gone():
        return False
    return True
