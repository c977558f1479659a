"""What one process serves: memories, and the threads that answer."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from mnemodex.deploy.batches import Batches
from mnemodex.deploy.memories import Memories
from mnemodex.deploy.metrics import Metrics
from mnemodex.deploy.operations import operations_of
from mnemodex.deploy.operations.search import SearchForm
from mnemodex.deploy.readers import Readers
from mnemodex.deploy.reasons import shown
from mnemodex.deploy.replicas import OneProcess, Reloaded, Replicas
from mnemodex.schemas.errors import BusyError, QueryError, RequestTimeoutError, SnapshotRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from mnemodex.deploy.access import Access
    from mnemodex.deploy.memories import Served
    from mnemodex.deploy.operations.base import Form
    from mnemodex.deploy.settings import ServerSettings

_log = logging.getLogger("mnemodex.server")
_THREADS = 8
_SEARCHING = 32
"""Threads that search: one an index runs at a time, and those that wait for an index cost next to nothing."""
_HUNG = 4
"""A batch that runs so many times as long as a request may is taken for one that never ends."""
_FOLLOW_SECONDS = 1.0
_AGAIN_SECONDS = 60.0
"""After which a snapshot that was refused is tried again."""


class Service:
    """Answers operations, from HTTP and from tools of assistants.

    Attributes:
        settings: the server's.
        memories: that are served.
        readers: the models that write answers.
        operations: that are answered, by their names.
        metrics: of this process.
        replicas: all processes of the server.
        ready: whether all memories are open and warm.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.memories = Memories(settings.memories, settings.limits)
        self.metrics = Metrics(self.memories)
        self.readers = Readers.open(settings.readers, seconds=settings.limits.seconds)
        self.operations = operations_of(settings, self.readers)
        self.replicas: Replicas = OneProcess(self)
        self.ready = False
        self._running = 0
        self._threads = ThreadPoolExecutor(_THREADS, "operation")
        self._batches = Batches(ThreadPoolExecutor(_SEARCHING, "search"), self.metrics.batch)
        self._stopped = threading.Event()

    def warm(self) -> dict[str, float]:
        """Open and search every index once, and follow; return the seconds that each took."""
        seconds = self.memories.warm()
        self.ready = True
        # What libraries made is not looked at again each time that a snapshot is released.
        gc.collect()
        gc.freeze()
        self.follow()
        return seconds

    def follow(self) -> None:
        """Serve new snapshots from now on as they are committed, where the settings say so."""
        if self.settings.follow:
            threading.Thread(target=self._follow, name="follow", daemon=True).start()

    def close(self) -> None:
        """Follow no snapshots any more, and start no threads."""
        self._stopped.set()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def offers(self, access: Access) -> list[str]:
        """Return what an access may use of what not every server has, or not every key: the scopes, and feedback."""
        scopes = access.scopes - (frozenset() if self.settings.sql and access.where is None else {"sql"})
        feedback = ["feedback"] if self.settings.feedback is not None and "search" in scopes else []
        return [*sorted(scopes), *feedback]

    async def run(
        self, name: str, form: Form, access: Access, *, watch: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        """Return the answer of an operation.

        Args:
            name: the operation's.
            form: the request.
            access: what may be done.
            watch: of `answer`: is given what a model writes, as it comes, in another thread.

        Raises:
            MnemodexError: it is refused or fails, or takes longer than a request may.
        """
        served = self.memories.get(form.memory, access)
        seconds = self.settings.limits.seconds
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(seconds):
                if isinstance(form, SearchForm) and name == "search":
                    with self._admitted():
                        answer = await self._batches.search(served, form, access)
                    self.metrics.search(served.name, form.index, time.perf_counter() - begun)
                else:
                    answer = await asyncio.wrap_future(self._submit(name, served, form, access, watch))
            return shown(answer, access)
        except QueryError as error:
            raise access.shown(error) from error
        except TimeoutError as error:
            raise RequestTimeoutError(f"{name}: took more than {seconds:g} seconds. Ask for less, or later") from error

    def _submit(
        self, name: str, served: Served, form: Form, access: Access, watch: Callable[[str], None] | None
    ) -> Future[dict[str, Any]]:
        """Start an operation in a thread; it counts as running until it ends, be its request given up before."""
        admitted = contextlib.ExitStack()
        admitted.enter_context(self._admitted())
        operation = self.operations[name]
        run = operation.run if watch is None else partial(operation.run, watch=watch)
        try:
            future = (operation.threads or self._threads).submit(run, served, form, access)
        except BusyError:
            admitted.close()
            raise
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(admitted.close))
        return future

    @contextlib.contextmanager
    def _admitted(self) -> Iterator[None]:
        """Count a request that runs; raise `BusyError` where as many run as may."""
        if self._running >= self.settings.limits.queued:
            raise BusyError(f"the server: {self._running} requests wait already. Ask again in a second")
        self._running += 1
        self.metrics.running.set(self._running)
        try:
            yield
        finally:
            self._running -= 1
            self.metrics.running.set(self._running)

    def check(self) -> None:
        """Raise where a search never ends, so that whoever watches this process starts another one.

        Raises:
            RequestTimeoutError: one runs far longer than a request may.
        """
        if self._batches.longest() > _HUNG * self.settings.limits.seconds:
            raise RequestTimeoutError("a search does not end. Start the process again")

    def reload(self, name: str | None = None) -> list[Reloaded]:
        """Serve the newest snapshot of a memory, or of each; return what is served, and why that is not the newest."""
        reloaded: list[Reloaded] = []
        for memory in [name] if name is not None else [served.name for served in self.memories]:
            problem, changed = None, False
            try:
                changed = self.memories.reload(memory)
                if changed:
                    self.metrics.reload(memory, "served")
            except SnapshotRefusedError as error:
                self.metrics.reload(memory, "refused")
                problem = str(error)
            served = self.memories.get(memory)
            reloaded.append({"name": memory, "snapshot": served.snapshot, "changed": changed, "problem": problem})
        return reloaded

    def _follow(self) -> None:
        """Serve new snapshots as they are committed; one that was refused is tried again after a while."""
        # The first look finds what was committed while the memories were opened.
        seen = {served.name: ("", 0.0) for served in self.memories}
        failing: set[str] = set()
        while not self._stopped.wait(_FOLLOW_SECONDS):
            for name, (former, again) in seen.items():
                try:
                    mark = self.memories.mark(name)
                    if mark == former and not (again and time.monotonic() > again):
                        continue
                    refused = any(memory["problem"] for memory in self.reload(name))
                    seen[name] = (mark, time.monotonic() + _AGAIN_SECONDS if refused else 0.0)
                    failing.discard(name)
                except Exception:
                    # Whatever a lost disk makes of it: the former snapshot is served, and it is said once.
                    if name not in failing:
                        _log.exception("%s: cannot be followed", name)
                    failing.add(name)
