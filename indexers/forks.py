"""Forks of a process: the threads of libraries are not in them, and whoever waits for these waits for ever."""

from __future__ import annotations

import os
from types import SimpleNamespace

from mnemodex.schemas.errors import ForkedProcessError

_first = SimpleNamespace(process=0)


def claim_threads() -> None:
    """Note that FAISS, PyTorch or DuckDB start threads in this process; call it before each use of them.

    Raises:
        ForkedProcessError: they did so in the process that this one is a fork of.
    """
    process = os.getpid()
    if _first.process not in (0, process):
        raise ForkedProcessError(
            f"process {process} is a fork of {_first.process}, which has searched a memory: the threads of FAISS, "
            "PyTorch and DuckDB are not in it, and a search would never end. Start processes by "
            'multiprocessing.get_context("spawn"), or search for the first time after the fork'
        )
    _first.process = process
