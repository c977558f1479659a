"""The memories that a server answers from, opened and warm, and the exchange of a snapshot for a newer one."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mnemodex.deploy.access import OPEN
from mnemodex.deploy.errors import hide_paths
from mnemodex.retrievers.memory import Memory
from mnemodex.schemas.errors import (
    AccessError,
    CorruptFileError,
    MnemodexError,
    SnapshotRefusedError,
    UnknownMemoryError,
)
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mnemodex.deploy.access import Access
    from mnemodex.deploy.settings import Limits
    from mnemodex.retrievers.base import Retriever
    from mnemodex.schemas.store.object_url import Root

_log = logging.getLogger("mnemodex.server")
_WARM_QUESTION = "What is this?"


@dataclass(frozen=True, eq=False)
class Served:
    """One snapshot of a memory as it is served; a request keeps it until it ends, and the last one closes it.

    Attributes:
        name: the memory's.
        memory: the snapshot, opened.
        limits: of requests.
        refused: why indexes are not served, by their names.
        locks: held by the one thread that searches an index, by its name.
    """

    name: str
    memory: Memory
    limits: Limits
    refused: dict[str, MnemodexError] = field(default_factory=dict)
    locks: defaultdict[str, threading.RLock] = field(default_factory=lambda: defaultdict(threading.RLock))

    def __post_init__(self) -> None:
        weakref.finalize(self, _release, self.name, self.memory).atexit = False

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
            raise _again(self.refused[index])
        return self.memory.retriever(index)

    def problem(self, index: str) -> str | None:
        """Return why an index is not served, without the paths of this machine; None where it is."""
        refusal = self.refused.get(index)
        return None if refusal is None else hide_paths(str(refusal), {self.name: self.memory.snapshot.store.root})

    def warm(self) -> dict[str, float]:
        """Check the files of texts, open every index and search it once; return the seconds of each index.

        Indexes that cannot be opened or searched are refused from then on.

        Raises:
            CorruptFileError: a file of texts is damaged; the indexes are open nevertheless.
        """
        seconds = {}
        for name in self.memory.indexes:
            begun = time.monotonic()
            try:
                with self.locks[name]:
                    self.memory.retriever(name).search([_WARM_QUESTION], 1)
            except MnemodexError as error:
                self.refused[name] = _again(error)
            seconds[name] = time.monotonic() - begun
        snapshot = self.memory.snapshot
        for table in (DOCUMENTS.label, CHUNKS.label):
            if table in snapshot.manifest.tables:
                snapshot.paths(table)
        return seconds


class Memories:
    """The memories of a server by name.

    Args:
        folders: of the memories, by name.
        limits: of requests.

    Attributes:
        problems: why something of a memory is not served, or its newest snapshot is not, by its name.

    Raises:
        MnemodexError: one of them is no memory, or none of its manifests is sound.
    """

    def __init__(self, folders: Mapping[str, Root], limits: Limits) -> None:
        self._limits = limits
        self._reloading = threading.Lock()
        self.problems: dict[str, str] = {}
        self._served = {name: Served(name, self._open(name, folder), limits) for name, folder in folders.items()}

    def warm(self) -> dict[str, float]:
        """Open and search every index once; return the seconds that each took, by `MEMORY/INDEX`."""
        seconds: dict[str, float] = {}
        for served in self:
            try:
                seconds |= {f"{served.name}/{index}": taken for index, taken in served.warm().items()}
            except CorruptFileError as error:
                self._note(served.name, str(error))
            for index, refusal in served.refused.items():
                self._note(served.name, f"index {index!r}: {refusal}")
        return seconds

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
        return iter(list(self._served.values()))

    def reload(self, name: str) -> bool:
        """Serve a memory's newest snapshot, if it is another one than is served; return whether it was.

        It is opened, its files are checked, and every index is searched once before. Requests that began keep the
        former one, whose files are closed after the last.

        Raises:
            SnapshotRefusedError: something of the newest one is damaged or cannot be opened, that of the former one
                can; the former one is served.
        """
        with self._reloading:
            former = self._served[name]
            served = None
            try:
                # Of the same snapshot, what was damaged may have been repaired.
                memory = former.memory.newer(again=bool(former.refused or name in self.problems))
                if memory is None:
                    return False
                served = Served(name, memory, self._limits)
                served.warm()
                for index in sorted(served.refused.keys() - former.refused.keys()):
                    raise _again(served.refused[index])
            except MnemodexError as error:
                which = f"snapshot {served.snapshot}" if served else "the newest snapshot"
                problem = f"{name}: {which} is refused, {former.snapshot} is served: {error}"
                self._note(name, problem)
                raise SnapshotRefusedError(problem) from error
            self._served[name] = served
            self.problems.pop(name, None)
            for index, refusal in served.refused.items():
                self._note(name, f"index {index!r}: {refusal}")
        _log.info("%s: snapshot %s is served", name, served.snapshot)
        return True

    def problem(self, name: str) -> str | None:
        """Return why something of a memory is not served, without the paths of this machine; None where all is."""
        found = self.problems.get(name)
        return None if found is None else hide_paths(found, {name: self._served[name].memory.snapshot.store.root})

    def _open(self, name: str, folder: Root) -> Memory:
        """Open the newest snapshot; where its manifest is damaged, the newest one whose manifest is not."""
        try:
            return Memory(folder)
        except CorruptFileError as error:
            memory = Memory.sound(folder)
            if memory is None:
                raise
            served = memory.snapshot.manifest.name
            self._note(name, f"{name}: the newest snapshot is refused, {served} is served: {error}")
            return memory

    def mark(self, name: str) -> str:
        """Return what is another text when another snapshot of a memory was committed."""
        return self._served[name].memory.snapshot.store.mark()

    def _note(self, name: str, problem: str) -> None:
        if self.problems.get(name) != problem:
            _log.error("%s", problem)
        self.problems[name] = problem


def _again(error: MnemodexError) -> MnemodexError:
    """Return an error without where it was raised, which keeps what is named there."""
    return type(error)(str(error))


def _release(name: str, memory: Memory) -> None:
    """Close a snapshot that no request uses any more, in a thread, so that the last request does not wait for it."""
    snapshot = memory.snapshot.manifest.name

    def release() -> None:
        memory.close()
        gc.collect()
        _log.info("%s: snapshot %s is released", name, snapshot)

    threading.Thread(target=release, name="release", daemon=True).start()
