"""The engine: runs units of a job on Ray Data. The only module that knows `ray.data`."""

from __future__ import annotations

import json
import logging
import time
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING

from mnemodex.pipelines.cluster import start_ray
from mnemodex.pipelines.worker import Worker, result
from mnemodex.schemas.errors import MnemodexError
from mnemodex.schemas.manifest import Artifact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from mnemodex.pipelines.jobs import JobSpec, Unit
    from mnemodex.pipelines.resources import Resources
    from mnemodex.schemas.store.store import Store

_MAX_BLOCKS = 4096


class Engine:
    """Starts Ray at the first unit of work, and not before.

    Args:
        store: the memory that is built.
        address: of a Ray cluster; a local one of its own by default.
    """

    def __init__(self, store: Store, *, address: str | None = None) -> None:
        self._store = store
        self._address = address
        self._started_here = self._ready = False
        self.start_seconds = 0.0

    def close(self) -> None:
        """Stop Ray if this engine started it."""
        if self._started_here:
            import ray

            ray.shutdown()
            self._started_here = self._ready = False

    def run(self, job: JobSpec, units: Sequence[Unit]) -> Iterator[list[Artifact]]:
        """Work on units, each in an actor that keeps its model for the next one.

        Results come as they are finished, in any order.

        Raises:
            MnemodexError: a unit failed; the message names its partition. What is finished stays published.
        """
        if not units:
            return
        self.start()
        import ray.data

        actors, cpus, gpus = self._share(job.resources, len(units))
        run = f"run-{uuid.uuid4().hex}"
        dataset = ray.data.from_items(
            [{"unit": unit.to_json()} for unit in units], override_num_blocks=min(len(units), _MAX_BLOCKS)
        )
        done = dataset.map_batches(
            _Actor,
            fn_constructor_args=(str(self._store.root), json.dumps(asdict(job)), cpus, run),
            # One unit at a time: the first actor that is ready would take several, and the others would go home.
            compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1),
            num_cpus=cpus,
            num_gpus=gpus,
            batch_size=1,
            batch_format="pyarrow",
        )
        try:
            for batch in done.iter_batches(batch_size=None, batch_format="pyarrow"):
                answers: pa.Table = batch
                for text in answers["result"].to_pylist():
                    yield [Artifact.model_validate(item) for item in result(text)]
        except ray.exceptions.RayError as error:
            msg = f"Ray could not run {job.job.rpartition(':')[2]}: {error}"
            raise MnemodexError(msg) from error
        finally:
            self._store.files.remove(f"work/{run}")

    def _share(self, needs: Resources, units: int) -> tuple[int, int, int]:
        """Actors, and CPUs and GPUs of each.

        As many actors as can work, and no CPU idle where few units can use several.
        """
        import ray

        if needs.alone:
            return 1, needs.cpus, 0
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call] # Ray leaves it so
        gpus = int(sum(node.get("GPU", 0) for node in nodes)) if needs.gpu else 0
        if gpus:
            return min(units, gpus), needs.cpus, 1
        cpus = [int(node.get("CPU", 0)) for node in nodes]
        each = max(needs.cpus, min(max(cpus), sum(cpus) // units)) if needs.threads else needs.cpus
        places = max(sum(count // each for count in cpus), 1)
        return min(units, places), each, 0

    def start(self) -> None:
        """Start Ray, or connect to the cluster; nothing if that is done. What it takes is kept in `start_seconds`."""
        if self._ready:
            return
        started = time.perf_counter()
        self._started_here = start_ray(self._address)
        self._configure()
        self._ready = True
        self.start_seconds += time.perf_counter() - started

    def _configure(self) -> None:
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)


class _Actor:
    """A worker as Ray Data calls it: a batch of one unit in, a batch of one result out."""

    def __init__(self, root: str, job: str, cpus: int, run: str) -> None:
        self._worker = Worker(root, job, cpus, run)

    def __call__(self, batch: pa.Table) -> pa.Table:
        import pyarrow as pa

        return pa.table({"result": [self._worker(text) for text in batch["unit"].to_pylist()]})
