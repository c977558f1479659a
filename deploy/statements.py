"""SQL of strangers, run in processes of its own: what a statement takes in memory or time, the server does not lack."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from multiprocessing import Pipe
from typing import TYPE_CHECKING, Any

from mnemodex.retrievers.memory_limit import HEADROOM
from mnemodex.schemas import errors
from mnemodex.schemas.errors import BusyError, MnemodexError, QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.retrievers.memory import Memory

ROWS = 10_000
"""Rows of an answer; the others are left out."""
BYTES = 8 << 20
"""Of an answer, as Arrow counts them."""
MEMORY = "1GB"
"""Of a statement, as DuckDB counts it; `HEADROOM` is for what it does not count."""
_PROCESSES = 2
_WAITING = 2
"""Statements that wait for a process; a further one is refused."""
_START = 120.0
"""Seconds in which a process has to begin."""
_GRACE = 5.0
"""Seconds after its deadline in which a process says that a statement was stopped; then the process is."""


class Statements:
    """Runs statements in other processes, which are kept for further statements.

    Args:
        seconds: how long a statement may run.
        rows: of an answer.
        size: bytes of an answer.
    """

    def __init__(self, *, seconds: float, rows: int = ROWS, size: int = BYTES) -> None:
        self._seconds = seconds
        self._limits = {"rows": rows, "bytes": size, "memory": MEMORY, "headroom": HEADROOM}
        self._places = threading.BoundedSemaphore(_PROCESSES)
        self._waiting = threading.BoundedSemaphore(_PROCESSES + _WAITING)
        self._lock = threading.Lock()
        self._idle: list[_Process] = []

    def run(self, memory: Memory, query: str, *, form: str = "json") -> dict[str, Any]:
        """Return `{"columns", "rows", "truncated"}` of one SELECT or EXPLAIN; of the form "arrow" `{"arrow", …}`.

        Raises:
            QueryError: see `Memory.sql`; or the statement needs more memory than it may have.
            BusyError: too many others run and wait.
        """
        if not self._waiting.acquire(blocking=False):
            raise BusyError("SQL: too many statements run. Try again later")
        try:
            with self._process(memory) as process:
                return process.ask(query, form, self._seconds)
        finally:
            self._waiting.release()

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.kill()

    @contextlib.contextmanager
    def _process(self, memory: Memory) -> Iterator[_Process]:
        """Let a process of the memory's snapshot be used; one that another snapshot left ends."""
        if not self._places.acquire(timeout=self._seconds):
            raise BusyError(f"SQL: others took the {self._seconds:g} s that this statement had. Try again later")
        try:
            state = _state_of(memory)
            with self._lock:
                chosen = next((process for process in self._idle if process.state == state), None)
                other = chosen or (self._idle[0] if self._idle else None)
                if other is not None:
                    self._idle.remove(other)
            if chosen is None:
                if other is not None:
                    other.kill()
                chosen = _Process(state, self._limits)
            try:
                yield chosen
            finally:
                if chosen.alive:
                    with self._lock:
                        self._idle.append(chosen)
        finally:
            self._places.release()


class _Process:
    """One process, which runs one statement at a time."""

    def __init__(self, state: tuple[str, str, str], limits: dict[str, Any]) -> None:
        self.state = state
        self.alive = True
        self._connection, theirs = Pipe()
        command = [sys.executable, "-m", "mnemodex.deploy.statement_process", str(theirs.fileno())]
        self._process = subprocess.Popen(  # noqa: S603 - the command is ours
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
        )
        theirs.close()
        self._call({"state": state, **limits}, _START)

    def ask(self, query: str, form: str, seconds: float) -> dict[str, Any]:
        """Return the answer to a statement."""
        return self._call({"query": query, "form": form, "seconds": seconds}, seconds + _GRACE)

    def kill(self) -> None:
        """End it, whatever it does."""
        self.alive = False
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def _call(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        try:
            self._connection.send_bytes(json.dumps(request).encode())
            if not self._connection.poll(seconds):
                raise QueryError("SQL: the statement could not be stopped in time and its process was ended; narrow it")
            answer: dict[str, Any] = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            self.kill()
            raise QueryError(
                "SQL: the statement ended its process, as one does that needs too much memory; narrow it"
            ) from error
        except BaseException:
            self.kill()
            raise
        if not answer.pop("goes_on"):
            self.kill()
        if "error" in answer:
            raise _error_of(answer)
        return answer


def _state_of(memory: Memory) -> tuple[str, str, str]:
    manifest = memory.snapshot.manifest
    return str(memory.snapshot.store.root.absolute()), manifest.name, manifest.created


def _error_of(answer: dict[str, Any]) -> MnemodexError:
    """Return the error of the other process, as its class here."""
    kind = getattr(errors, answer["kind"], MnemodexError)
    error: MnemodexError = kind(answer["error"])
    return error
