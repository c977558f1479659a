"""The processes of a server, as one of them asks all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from typing_extensions import override

if TYPE_CHECKING:
    from mnemodex.deploy.service import Service


class Replicas(Protocol):
    """All processes of a server; each answer is by the name of a process."""

    async def reload(self, memory: str | None) -> dict[str, list[dict[str, Any]]]:
        """Let each serve the newest snapshot, and return what `Service.reload` does."""

    async def families(self) -> dict[str, list[dict[str, Any]]]:
        """Return the metrics of each that answers in time, as `Metrics.families` does."""


class OneProcess(Replicas):
    """A server of one process."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @override
    async def reload(self, memory: str | None) -> dict[str, list[dict[str, Any]]]:
        return {"0": await asyncio.to_thread(self._service.reload, memory)}

    @override
    async def families(self) -> dict[str, list[dict[str, Any]]]:
        return {"0": self._service.metrics.families()}
