"""Builds on a disk that is full at some point, for every such point.

Run as a program where `DISK` is a small file system of its own: `full_disk.py SOURCE MEMORY DISK INDEXES`. It copies
the memory there, leaves a little room, builds, makes room and builds again, and prints one JSON object.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from small_memory import build_inline

from mnemodex.pipelines.ops import checkpoint
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import MnemodexError
from mnemodex.schemas.manifest import Artifacts
from mnemodex.schemas.store.store import open_store

STEPS = 9
MEMOS = ("plan", "content-", "partial")
"""What may stay in the folder of unfinished work: it is read again, or made again."""


def fill(disk: Path, left: int) -> Path:
    """A file that leaves so many bytes of the disk."""
    state = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(b"\0" * max(0, state.f_bavail * state.f_frsize - left))
    return filler


def used(disk: Path) -> int:
    state = os.statvfs(disk)
    return (state.f_blocks - state.f_bavail) * state.f_frsize


def main(source: Path, memory: Path, disk: Path, indexes: dict) -> None:
    checkpoint.SECONDS = 0
    copy = shutil.copytree(memory, disk / "memory")
    before = used(disk)
    build_inline(source, copy, indexes)
    wanted, needed = open_store(copy)[1].replaced(Artifacts), used(disk) - before
    messages, problems = [], []
    for step in range(STEPS):
        shutil.rmtree(copy)
        shutil.copytree(memory, copy)
        filler = fill(disk, needed * step // STEPS)
        try:
            build_inline(source, copy, indexes)
        except MnemodexError as error:
            messages.append(str(error))
            problems += [] if open_store(copy)[1] == open_store(memory)[1] else [f"{step}: another snapshot"]
            problems += [str(path) for path in (copy / "work").iterdir() if not path.name.startswith(MEMOS)]
        problems += verify(copy).problems
        filler.unlink()
        build_inline(source, copy, indexes)
        problems += verify(copy).problems
        problems += [] if open_store(copy)[1].same_content(wanted) else [f"{step}: other content"]
    print(json.dumps({"messages": messages, "problems": problems}))


if __name__ == "__main__":
    paths = map(Path, sys.argv[1:4])
    main(*paths, json.loads(sys.argv[4]))
    # Threads of libraries have aborted the interpreter's own end, once in ten runs; what is tested is over by then.
    sys.stdout.flush()
    os._exit(0)
