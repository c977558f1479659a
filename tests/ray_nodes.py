"""Clusters as `ray start` makes them, whose nodes are processes on this machine and ask for a token."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from processes import descendants, kill_tagged, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "a" * 40


def environment(token: str = TOKEN) -> dict[str, str]:
    """The environment of a process that shows a token."""
    return {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}


def free_port() -> int:
    """A free port, below those that the system gives to Ray's processes."""
    while True:
        port = random.randint(20000, 30000)
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port


@dataclass
class Node:
    """A node, with a tag in the environment of all its processes."""

    process: subprocess.Popen[bytes]
    tag: str = field(repr=False)

    @property
    def raylet(self) -> int | None:
        """The process that Ray calls the node's raylet, below which are its workers."""
        return next((pid for pid in descendants(self.process.pid, "") if _is_raylet(pid)), None)


def _is_raylet(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text() == "raylet\n"
    return False


@dataclass
class RayNodes:
    """A head and further nodes; addresses of the cluster, and of the dashboard where jobs are submitted."""

    address: str
    dashboard: str | None
    nodes: list[Node] = field(default_factory=list)

    def add(self, *, cpus: int) -> Node:
        """Start a node, and wait until it is one of the cluster."""
        node = _start("--address", self.address, "--num-cpus", str(cpus))
        self.nodes.append(node)
        wait_until(lambda: node.raylet is not None and self._count() == len(self.nodes), step=0.2)
        return node

    def _count(self) -> int:
        """The nodes that the head knows."""
        code = f"import ray; ray.init({self.address!r}, log_to_driver=False); print(len(ray.nodes()))"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
        return int(done.stdout)


@contextlib.contextmanager
def ray_nodes(*, cpus: int, jobs: bool = False) -> Iterator[RayNodes]:
    """Start a head; with a dashboard where `jobs` are submitted. All nodes end with it."""
    port, dashboard = free_port(), free_port()
    asked = ("--include-dashboard=true", f"--dashboard-port={dashboard}") if jobs else ("--include-dashboard=false",)
    cluster = RayNodes(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}" if jobs else None)
    try:
        cluster.nodes.append(_start("--head", f"--port={port}", f"--num-cpus={cpus}", *asked))
        for needed in (port, *((dashboard,) if jobs else ())):
            wait_until(lambda needed=needed: _listens(needed), step=0.2)
        yield cluster
    finally:
        for node in reversed(cluster.nodes):
            node.process.terminate()
            node.process.wait()
            kill_tagged(node.tag)


def _start(*options: str) -> Node:
    name, value = "MNEMODEX_TEST", uuid.uuid4().hex
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *options]
    process = subprocess.Popen(
        [*command, f"--object-store-memory={100 << 20}", "--block"],
        env={**environment(), name: value},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return Node(process, f"{name}={value}")


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
