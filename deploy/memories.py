"""The memories that a server answers from, opened and warm."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mnemodex.deploy.access import OPEN
from mnemodex.retrievers.memory import Memory
from mnemodex.schemas.errors import AccessError, MnemodexError, UnknownMemoryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mnemodex.deploy.access import Access
    from mnemodex.deploy.settings import Limits
    from mnemodex.retrievers.base import Retriever

_WARM_QUESTION = "What is this?"


@dataclass(frozen=True, eq=False)
class Served:
    """One snapshot of a memory as it is served; a request keeps it until it ends.

    Attributes:
        name: the memory's.
        memory: the snapshot, opened.
        limits: of requests.
        refused: why indexes are not served, by their names.
        lock: held by the one thread that searches.
    """

    name: str
    memory: Memory
    limits: Limits
    refused: dict[str, MnemodexError] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def snapshot(self) -> str:
        """The name of the snapshot."""
        return self.memory.snapshot.manifest.name

    def retriever(self, index: str) -> Retriever:
        """Return the retriever of an index.

        Raises:
            UnknownIndexError: there is none.
            MnemodexError: what was wrong with its files or its model when it was opened.
        """
        if index in self.refused:
            raise self.refused[index]
        return self.memory.retriever(index)

    def warm(self) -> None:
        """Open every index, check its files and search it once; those that cannot be are refused from then on."""
        for name in self.memory.indexes:
            try:
                with self.lock:
                    self.memory.retriever(name).search([_WARM_QUESTION], 1)
            except MnemodexError as error:
                self.refused[name] = error


class Memories:
    """The memories of a server by name.

    Args:
        folders: of the memories, by name.
        limits: of requests.
    """

    def __init__(self, folders: Mapping[str, Path], limits: Limits) -> None:
        self._served = {name: Served(name, Memory(folder), limits) for name, folder in folders.items()}

    def warm(self) -> None:
        """Open and search every index once."""
        for served in self:
            served.warm()

    def get(self, name: str | None, access: Access = OPEN) -> Served:
        """Return a memory as it is served now; `None` names the one where the access is for one.

        Raises:
            AccessError: the access is not for it, whether it is there or not.
            UnknownMemoryError: there is none of that name, or several and the request names none.
        """
        seen = [known for known in self._served if access.sees_memory(known)]
        names = ", ".join(map(repr, seen))
        if name is None:
            if not seen:
                raise AccessError(f"key {access.key_name!r} is for no memory that is served; ask with another key")
            if len(seen) > 1:
                raise UnknownMemoryError(f"memory: is missing, and several are served. Name one of {names}")
            (name,) = seen
        access.require_memory(name)
        if name not in self._served:
            raise UnknownMemoryError(f"memory: none is called {name!r}. Name one of {names}")
        return self._served[name]

    def __iter__(self) -> Iterator[Served]:
        return iter(self._served.values())
