"""A next-token datastore behind a Ray actor, for readers that run elsewhere or share one datastore."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from typing_extensions import override

from mnemodex.indexers.dense.devices import set_threads
from mnemodex.pipelines.cluster import start_ray
from mnemodex.retrievers.datastore import Datastore, DatastoreInfo, Neighbours
from mnemodex.retrievers.memory import Memory
from mnemodex.retrievers.next_token import NextTokenRetriever
from mnemodex.schemas.errors import MnemodexError, QueryError
from mnemodex.schemas.store.object_url import parse_root

if TYPE_CHECKING:
    from pathlib import Path

    from mnemodex.indexers.arrays import Float32s, Int64s

_RESTARTS = 3
"""How often an actor that died is started again; a look-up changes nothing, so that it is then repeated."""


class RemoteDatastore(Datastore):
    """A datastore in an actor of its own, whose look-ups are calls.

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

        actor: Any = ray.remote(_DatastoreActor)
        options = {"num_cpus": cpus, "max_restarts": _RESTARTS, "max_task_retries": _RESTARTS}
        self._actor: Any = actor.options(**options).remote(str(parse_root(memory).absolute()), index, cpus)
        try:
            self.info  # noqa: B018 - refuses a missing memory now
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the actor, and the Ray that was started for it."""
        import ray

        ray.kill(self._actor)
        if self._started_here:
            ray.shutdown()

    @cached_property
    @override
    def info(self) -> DatastoreInfo:
        info: DatastoreInfo = self._call("info")
        return info

    @override
    def nearest(self, keys: Float32s, k: int) -> Neighbours:
        neighbours: Neighbours = self._call("nearest", keys, k)
        return neighbours

    @override
    def measure(self, keys: Float32s, ids: Int64s) -> Neighbours:
        neighbours: Neighbours = self._call("measure", keys, ids)
        return neighbours

    def _call(self, name: str, *arguments: Any) -> Any:
        import ray

        try:
            answer = ray.get(self._actor.call.remote(name, *arguments))
        except ray.exceptions.RayError as error:
            raise MnemodexError(f"the actor of the datastore does not answer ({error}); start it again") from error
        # An error of ours travels as an answer, so that it is the same as without an actor.
        if isinstance(answer, MnemodexError):
            raise answer
        return answer


class _DatastoreActor:
    def __init__(self, memory: str, index: str, cpus: int) -> None:
        set_threads(cpus)
        self._memory, self._index = memory, index

    @cached_property
    def _datastore(self) -> NextTokenRetriever:
        retriever = Memory(self._memory).retriever(self._index)
        if not isinstance(retriever, NextTokenRetriever):
            raise QueryError(
                f"{self._memory}: index {self._index!r} is no next-token datastore; name one of type knn_lm"
            )
        return retriever

    def call(self, name: str, *arguments: Any) -> Any:
        """Return the result of a method, or the value of a property, or an error of ours."""
        try:
            member = getattr(self._datastore, name)
            return member(*arguments) if callable(member) else member
        except MnemodexError as error:
            return error
