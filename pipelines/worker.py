"""The worker: runs units of a job inside an actor, and turns what goes wrong into rows."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import traceback
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.jobs import JobSpec, Unit
from mnemodex.schemas.errors import MnemodexError, StageFailedError
from mnemodex.schemas.store.store import Store

if TYPE_CHECKING:
    from mnemodex.pipelines.jobs import Job

MAX_DEATHS = 3
"""Workers that a unit may kill before it counts as poisoned."""


class Worker:
    """Loads a job at its first unit, and answers each unit with one JSON string.

    Args:
        root: the memory's folder.
        job: the job as JSON of `JobSpec`.
        cpus: CPU threads it may use.
        run: the name of this run of the engine, for counting the workers that a unit has killed.
    """

    def __init__(self, root: str, job: str, cpus: int, run: str) -> None:
        self._store = Store(root)
        self._spec = JobSpec(**json.loads(job))
        self._cpus = cpus
        self._run = run
        self._job: Job | None = None

    def __call__(self, text: str) -> str:
        """Work on a unit; `{"artifacts": […]}` or `{"error": …, "kind": …, "detail": …}`."""
        unit = Unit.from_json(text)
        deaths = f"work/{self._run}/{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        died = len(self._store.files.names(deaths))
        if died >= MAX_DEATHS:
            return self._error(
                unit,
                StageFailedError(
                    f"its worker died {died} times (out of memory, perhaps): give workers more, or use smaller "
                    "partitions"
                ),
            )
        try:
            self._store.files.write(f"{deaths}/{died}", b"")
            artifacts = self._ready().run(unit)
            self._store.files.remove(deaths)
        except Exception as error:
            self._store.files.remove(deaths)
            return self._error(unit, error)
        return json.dumps({"artifacts": [artifact.model_dump(mode="json") for artifact in artifacts]})

    def _ready(self) -> Job:
        if self._job is None:
            # Rust's tokenizers take every core of the machine unless they are told.
            os.environ["RAYON_NUM_THREADS"] = str(self._cpus)
            job = self._spec.load(self._store)
            job.setup(self._cpus)
            self._job = job
        return self._job

    def _error(self, unit: Unit, error: Exception) -> str:
        """An error as a row: the class of ours that it is, and a message that names the partition."""
        place = f"{unit.folder} partition {unit.label}"
        if isinstance(error, MnemodexError) and not isinstance(error, StageFailedError):
            message, kind = str(error), type(error).__name__
        elif self._is_full(error):
            message, kind = (
                f"{place}: no space left on the disk ({error}); what is finished is kept: free some space and run the "
                "build again",
                "StageFailedError",
            )
        else:
            message, kind = f"{place}: {type(error).__name__}: {error}", "StageFailedError"
        return json.dumps({"error": message, "kind": kind, "detail": "".join(traceback.format_exception(error))})

    def _is_full(self, error: Exception) -> bool:
        # numpy's and FAISS's errors of a short write do not tell why it was short.
        return (isinstance(error, OSError) and error.errno == errno.ENOSPC) or self._store.files.is_full()


def result(text: str) -> list[Any]:
    """The artifacts of a worker's answer.

    Raises:
        MnemodexError: of the class that the worker met, with the worker's traceback as its cause.
    """
    from mnemodex.schemas import errors

    answer = json.loads(text)
    if "error" in answer:
        raised: Exception = getattr(errors, answer["kind"])(answer["error"])
        raise raised from RuntimeError(answer["detail"])
    artifacts: list[Any] = answer["artifacts"]
    return artifacts
