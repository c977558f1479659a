"""The worker: runs units of steps in one process, and turns what goes wrong into messages."""

from __future__ import annotations

import errno
import socket
import threading
import time
import traceback
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from mnemodex.indexers.models.hashes import digest_of
from mnemodex.pipelines.messages import Answer, Done, Failure, StepOrder, Unit
from mnemodex.pipelines.ops.base import Work, make_op
from mnemodex.pipelines.ops.inputs import Inputs
from mnemodex.pipelines.ops.output import Output, Report
from mnemodex.schemas.errors import MnemodexError, ModelError, StageFailedError, reason
from mnemodex.schemas.kinds import load
from mnemodex.schemas.spec import ModelRef

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnemodex.pipelines.messages import ModelUse
    from mnemodex.pipelines.ops.base import Op
    from mnemodex.schemas.manifest import Artifact
    from mnemodex.schemas.store.store import Store


class Worker:
    """Makes the op of a step at its first unit and keeps it.

    Of two units at once, one is computed while the inputs of the other are checked, or its results are published.

    Args:
        store: the memory.
        run: the folder of the build's steps and lists below the memory.
        cpus: CPU threads it may use.
        objects: what the caller of `build` passed.
    """

    def __init__(self, store: Store, run: str, *, cpus: int, objects: Mapping[str, Any]) -> None:
        self._store = store
        self._run = run
        self._work = Work(cpus, store, objects)
        self._ops: dict[str, tuple[StepOrder, Op]] = {}
        self._working = threading.Lock()

    def __call__(self, unit: Unit, report: Report) -> Answer:
        """Compute a unit and publish its results."""
        try:
            result: Done | Failure = Done(artifacts=tuple(self._compute(unit, report)))
        except Exception as error:
            result = self._failure(unit, error)
        return Answer(step=unit.step, label=unit.label, result=result)

    def _compute(self, unit: Unit, report: Report) -> list[Artifact]:
        inputs = Inputs(self._store, unit, self._run)
        if self._working.locked():
            # A GPU is not to wait for hashes.
            inputs.check()
        with ExitStack() as stack:
            with self._working:
                order, op = self._op(unit.step)
                # Loading models is work of the worker, not of its first unit.
                started, spent = time.perf_counter(), time.process_time()
                output = Output(self._store, order, unit, report)
                stack.callback(output.discard)
                stats = op.run(inputs, output)
                output.check_parents(inputs)
                took = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - spent}
            published = output.publish(stats.model_copy(update=took))
        output.checkpoint.remove()
        return published

    def _op(self, step: str) -> tuple[StepOrder, Op]:
        if step not in self._ops:
            order = StepOrder.model_validate_json(self._store.files.read(step_file(self._run, step)))
            for model in order.models:
                _check_model(model)
            self._ops[step] = order, make_op(load(order.op), order.settings, self._work)
        return self._ops[step]

    def _failure(self, unit: Unit, error: Exception) -> Failure:
        """Return an error as a message that names the partition, with the class of ours that it is."""
        detail = "".join(traceback.format_exception(error))
        if isinstance(error, MnemodexError) and not isinstance(error, StageFailedError):
            return Failure(kind=type(error).__name__, message=str(error), detail=detail)
        message = f"{unit.step} partition {unit.label}: "
        if self._is_full(error):
            message += f"no space left on the disk ({reason(error)}). "
            message += "Free some space and build again: what is finished is kept"
        elif isinstance(error, OSError) and error.filename:
            message += f"{error.filename}: {reason(error)}. Correct that and build again: what is finished is kept"
        else:
            message += str(error) if isinstance(error, StageFailedError) else f"{type(error).__name__}: {error}"
        return Failure(kind="StageFailedError", message=message, detail=detail)

    def _is_full(self, error: Exception) -> bool:
        # numpy's and FAISS's errors of a short write do not say why it was short.
        return (isinstance(error, OSError) and error.errno == errno.ENOSPC) or self._store.files.is_full()


def _check_model(model: ModelUse) -> None:
    """Refuse a model whose files on this node are others than the driver's.

    Raises:
        ModelError: names the node and the model.
    """
    node = socket.gethostname()
    try:
        digest = digest_of(model.name, ModelRef(model.part))
    except ModelError as error:
        raise ModelError(f"node {node}: {error}") from error
    if digest != model.sha256:
        raise ModelError(
            f"model {model.name!r} on node {node} differs from the driver's (SHA-256 {model.sha256[:12]}…); install "
            "the same files on all nodes"
        )


def step_file(run: str, step: str) -> str:
    """Return where a step is described for workers."""
    return f"{run}/steps/{step.replace('/', '_').replace(': ', '_')}.json"
