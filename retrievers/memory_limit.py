"""A bound on the memory of this process, for statements of strangers."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADROOM = 2 << 30
"""Bytes that a statement may take besides what DuckDB counts: texts of one batch, encoders, the answer."""


@contextlib.contextmanager
def bounded_memory(most: int) -> Iterator[None]:
    """Let the process take so many bytes more at most; without Linux, which alone counts them, any.

    DuckDB's own limit does not count the texts of a batch, and no interrupt reaches a call that makes them.
    """
    if sys.platform != "linux":
        yield
        return
    import resource

    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    used = int(status.partition("VmData:")[2].split()[0]) << 10
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [used + most, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
