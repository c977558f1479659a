"""What a command and all processes below it cost: CPU time and peak memory, Ray's workers included."""

from __future__ import annotations

import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SECONDS = 0.2
"""Between two looks at the processes."""


@dataclass
class Cost:
    """What a command cost.

    Attributes:
        seconds: wall time.
        cpu_seconds: user and system time of all processes, each as it was last seen.
        peak_bytes: resident bytes at most, without mapped files, of the process that had most.
        output: its standard output.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    output: str = ""
    _seen: dict[tuple[int, float], float] = field(default_factory=dict)

    def look(self, root: psutil.Process) -> None:
        """Add what the processes below `root`, and it, have used by now."""
        for process in [root, *root.children(recursive=True)]:
            try:
                times, memory = process.cpu_times(), process.memory_info()
                self._seen[process.pid, process.create_time()] = times.user + times.system
            except psutil.Error:
                continue
            self.peak_bytes = max(self.peak_bytes, memory.rss - memory.shared)
        self.cpu_seconds = sum(self._seen.values())


def measure(command: Sequence[str], *, cwd: Path | None = None, descriptors: int | None = None) -> Cost:
    """Run a command to its end.

    Args:
        command: the command.
        cwd: where it runs.
        descriptors: files that each of its processes may have open.

    Raises:
        CalledProcessError: it failed; what it wrote is in the error.
    """
    cost = Cost()
    if descriptors is not None:
        command = ["prlimit", f"--nofile={descriptors}:{descriptors}", *command]
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output, subprocess.Popen(command, cwd=cwd, stdout=output) as process:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            cost.look(root)
            time.sleep(_SECONDS)
        output.seek(0)
        cost.output = output.read()
    cost.seconds = time.perf_counter() - started
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command), cost.output)
    return cost
