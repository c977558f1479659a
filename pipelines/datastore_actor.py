"""A next-token datastore behind a Ray actor, for readers that run elsewhere or share one datastore."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mnemodex.indexers.dense import set_threads
from mnemodex.pipelines.cluster import start_ray
from mnemodex.retrievers.memory import Memory
from mnemodex.retrievers.next_token import NextTokenRetriever
from mnemodex.schemas.errors import MnemodexError, QueryError

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from mnemodex.retrievers.datastore import DatastoreInfo, Neighbours

_RESTARTS = 3
"""How often an actor that died is started again; a look-up changes nothing, so that it is then asked once more."""


class RemoteDatastore:
    """A datastore in an actor of its own: a `Datastore` whose look-ups are calls.

    Args:
        memory: the memory's folder, as the actor's node sees it.
        index: the index's name.
        address: of a Ray cluster; a local one by default, unless this process has one.
        cpus: threads of a look-up.

    Raises:
        MemoryNotFoundError: there is no such memory.
        QueryError: there is no such index, or it is no datastore.
    """

    def __init__(self, memory: str | Path, index: str, *, address: str | None = None, cpus: int = 1) -> None:
        self._started_here = start_ray(address)
        import ray

        actor: Any = ray.remote(_Datastore)
        options = {"num_cpus": cpus, "max_restarts": _RESTARTS, "max_task_retries": _RESTARTS}
        self._actor: Any = actor.options(**options).remote(str(Path(memory).absolute()), index, cpus)
        try:
            self.info  # noqa: B018 - a memory that is not there is told now
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the actor, and the Ray that was started for it."""
        import ray

        ray.kill(self._actor)
        if self._started_here:
            ray.shutdown()

    @cached_property
    def info(self) -> DatastoreInfo:
        """See `Datastore.info`."""
        found: DatastoreInfo = self._ask("info")
        return found

    def nearest(self, keys: NDArray[np.float32], k: int) -> Neighbours:
        """See `Datastore.nearest`."""
        found: Neighbours = self._ask("nearest", keys, k)
        return found

    def measure(self, keys: NDArray[np.float32], ids: NDArray[np.int64]) -> Neighbours:
        """See `Datastore.measure`."""
        found: Neighbours = self._ask("measure", keys, ids)
        return found

    def _ask(self, name: str, *arguments: Any) -> Any:
        import ray

        try:
            answer = ray.get(self._actor.ask.remote(name, *arguments))
        except ray.exceptions.RayError as error:
            msg = f"the actor of the datastore cannot be asked ({error}); start it again"
            raise MnemodexError(msg) from error
        # An error of ours travels as an answer, so that it is the same as without an actor.
        if isinstance(answer, MnemodexError):
            raise answer
        return answer


class _Datastore:
    """What the actor runs."""

    def __init__(self, memory: str, index: str, cpus: int) -> None:
        set_threads(cpus)
        self._place = (memory, index)
        self._opened: NextTokenRetriever | None = None

    def ask(self, name: str, *arguments: Any) -> Any:
        """What the datastore answers, or an error of ours."""
        try:
            found = getattr(self._open(), name)
            return found(*arguments) if callable(found) else found
        except MnemodexError as error:
            return error

    def _open(self) -> NextTokenRetriever:
        if self._opened is None:
            memory, index = self._place
            retriever = Memory(memory).retriever(index)
            if not isinstance(retriever, NextTokenRetriever):
                msg = f"{memory}: index {index!r} is no next-token datastore; name one of type knn_lm"
                raise QueryError(msg)
            self._opened = retriever
        return self._opened
