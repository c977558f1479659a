"""A server that runs as users start it, and clients that go on asking it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

READY_SECONDS = 240


@dataclass(frozen=True)
class Served:
    """A server that runs: its address, its process, and the file that its output goes to."""

    url: str
    process: psutil.Process
    log: Path

    def replicas(self) -> list[psutil.Process]:
        """The processes that answer."""
        return [one for one in self.process.children(recursive=True) if "ServeReplica" in _line(one)]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=60)

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(self.url + path, json=body, timeout=60)

    def search(self, index: str, question: str, **body: Any) -> httpx.Response:
        return self.post("/v1/search", {"index": index, "queries": [question], "k": 5, **body})


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def serving(*arguments: str | Path, log: Path) -> Iterator[Served]:
    """`mnemodex serve`, until the context ends."""
    port = free_port()
    command = [sys.executable, "-m", "mnemodex", "serve", *map(str, arguments), "--port", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    made = Served(f"http://127.0.0.1:{port}", psutil.Process(process.pid), log)
    children: list[psutil.Process] = []
    try:
        _wait_ready(made, process)
        yield made
    finally:
        with contextlib.suppress(psutil.Error):
            children = made.process.children(recursive=True)
        process.send_signal(signal.SIGTERM)
        process.wait(120)
        _, alive = psutil.wait_procs(children, timeout=60)
        for one in alive:
            one.kill()
        assert not alive, f"left behind: {[_line(one) for one in alive]}"


def _wait_ready(served: Served, process: subprocess.Popen[bytes]) -> None:
    for _ in range(READY_SECONDS * 5):
        assert process.poll() is None, _begin(served.log)
        with contextlib.suppress(httpx.HTTPError):
            if served.get("/readyz").status_code == 200:
                return
        time.sleep(0.2)
    raise AssertionError(f"not ready: {_begin(served.log)}")


def _begin(log: Path) -> str:
    """The first megabyte: `/dev/full` has no end."""
    with log.open() as file:
        return file.read(1 << 20)


@dataclass
class Clients:
    """Threads that ask one question after the other, each of its own kind of body, until they are stopped.

    Attributes:
        answers: the moment, status and JSON (text of those that are not 200) of each; status 0 where none came.
    """

    served: Served
    bodies: Sequence[dict[str, Any]]
    answers: list[tuple[float, int, Any]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Clients:
        self._threads = [threading.Thread(target=self._ask, args=(body,)) for body in self.bodies]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, body: dict[str, Any]) -> None:
        with httpx.Client(timeout=60) as client:
            while not self._stop.is_set():
                try:
                    answer = client.post(f"{self.served.url}/v1/search", json=body)
                    # The proxy's own refusals are not JSON.
                    told = answer.json() if answer.status_code == 200 else answer.text
                    self.answers.append((time.monotonic(), answer.status_code, told))
                except httpx.HTTPError:
                    self.answers.append((time.monotonic(), 0, body))
                    time.sleep(0.1)
