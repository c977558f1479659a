"""Finding and killing processes that a test started, and no others."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def descendants(ancestor: int, title: str) -> list[int]:
    """The processes below another one whose command line begins so."""
    parents = {}
    for pid, folder in _processes():
        with contextlib.suppress(OSError):
            parents[pid] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    return with_title([pid for pid in parents if ancestor in _line(pid, parents)], title)


def _line(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while pid in parents:
        pid = parents[pid]
        yield pid


def with_title(pids: list[int], title: str) -> list[int]:
    """Those whose command line begins so."""
    return [pid for pid, folder in _processes() if pid in pids and _title(folder).startswith(title.encode())]


def _title(folder: Path) -> bytes:
    try:
        return (folder / "cmdline").read_bytes()
    except OSError:
        return b""


def tagged(tag: str) -> list[int]:
    """The processes that were started, at whatever remove, with this text in their environment."""
    found = []
    for pid, folder in _processes():
        with contextlib.suppress(OSError):
            if tag.encode() in (folder / "environ").read_bytes() and pid != os.getpid():
                found.append(pid)
    return found


def kill_tagged(tag: str) -> None:
    for pid in tagged(tag):
        send(pid, signal.SIGKILL)


def _processes() -> list[tuple[int, Path]]:
    return [(int(folder.name), folder) for folder in Path("/proc").iterdir() if folder.name.isdigit()]


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; whether the process was there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], object], *, seconds: float = 120, step: float = 0.002) -> None:
    """Wait for something to become true, and fail where it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(step)
