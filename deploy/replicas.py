"""The processes of a server, as one of them asks all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from typing_extensions import override

if TYPE_CHECKING:
    from mnemodex.deploy.service import Service


class Reloaded(TypedDict):
    """What a process serves of a memory after it has looked for a newer snapshot.

    Attributes:
        name: the memory's.
        snapshot: that is served.
        changed: whether it is another one than before.
        problem: why the newest is not served; None where it is.
    """

    name: str
    snapshot: str
    changed: bool
    problem: str | None


class Replicas(Protocol):
    """All processes of a server; each answer is by the name of a process."""

    async def reload(self, memory: str | None) -> dict[str, list[Reloaded]]:
        """Let each serve the newest snapshot, and return what `Service.reload` does."""

    async def families(self) -> dict[str, list[dict[str, Any]]]:
        """Return the metrics of each that answers in time, as `Metrics.families` does."""


class OneProcess(Replicas):
    """A server of one process."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @override
    async def reload(self, memory: str | None) -> dict[str, list[Reloaded]]:
        return {"0": await asyncio.to_thread(self._service.reload, memory)}

    @override
    async def families(self) -> dict[str, list[dict[str, Any]]]:
        return {"0": self._service.metrics.families()}
