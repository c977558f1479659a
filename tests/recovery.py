"""Builds in a process of their own, to be killed, and what must be so afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from processes import descendants, kill_tagged, send, tagged, with_title

from mnemodex.pipelines.verify import verify
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator


WORKER = "ray::MnemodexWorker"
"""How Ray calls the processes that work on units."""

_COMMAND = """
from mnemodex.__main__ import main
from mnemodex.pipelines import source_plan
from mnemodex.pipelines.sources.packing import Packing
source_plan.PACKING = Packing(most=0)
main()
"""
"""The command line, with the packing that builds of tests have."""

ON_RAY = ("--address", "local")
"""Options of a build on a Ray of its own, however little it computes."""


@contextlib.contextmanager
def build_process(
    recipe: dict[str, Any], folder: Path, options: tuple[str, ...] = ON_RAY
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The command line's build, its Ray with it; gives the process and the tag of all that it starts.

    What it says goes to `stderr` in the folder.
    """
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    name, value = "MNEMODEX_TEST", uuid.uuid4().hex
    with (folder / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, "build", str(path), *options],
            env={**os.environ, name: value},
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
    try:
        yield process, f"{name}={value}"
    finally:
        process.kill()
        process.wait()
        kill_tagged(f"{name}={value}")


def workers_of(tag: str) -> list[int]:
    """The workers of a build process that are alive."""
    return with_title(tagged(tag), WORKER)


def stop_one_at_work(ancestor: int, memory: Path) -> int | None:
    """Stop each worker below a process for a moment, and one in the midst of a unit for good; its process, if any."""
    for pid in descendants(ancestor, WORKER):
        if send(pid, signal.SIGSTOP):
            if _writes(pid, memory):
                return pid
            send(pid, signal.SIGCONT)
    return None


def _writes(pid: int, memory: Path) -> bool:
    """Whether a process has a file of the memory open."""
    try:
        files = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False
    return any(file.startswith(f"{memory}/work/attempt-") for file in files)


def published(memory: Path) -> dict[Path, tuple[int, int]]:
    """Every finished result: its marker, and what changes when it is made again."""
    kinds = ("tables/**/*.json", "indexes/*/*.json", "work/plan/*/*.json")
    markers = [marker for kind in kinds for marker in memory.glob(kind)]
    return {marker: (marker.stat().st_ino, marker.stat().st_mtime_ns) for marker in markers}


def missing(before: dict[Path, tuple[int, int]], memory: Path, undisturbed: Path) -> set[Path]:
    """The results that were not finished before."""
    wanted = {marker.relative_to(undisturbed) for marker in published(undisturbed)}
    return wanted - {marker.relative_to(memory) for marker in before}


def assert_kept(before: dict[Path, tuple[int, int]], memory: Path) -> None:
    """What was finished before is there, and was not made again."""
    after = published(memory)
    changed = {str(marker): (stat, after.get(marker)) for marker, stat in before.items() if after.get(marker) != stat}
    assert not changed, changed


def assert_same(memory: Path, undisturbed: Path) -> None:
    """Both memories are sound and have the same content, row by row."""
    problems = verify(memory).problems
    assert problems == [], problems
    (store, manifest), (other_store, wanted) = open_store(memory), open_store(undisturbed)
    assert manifest.same_content(wanted)
    for name in ("documents", "chunks"):
        for part, other in zip(manifest.tables[name].partitions, wanted.tables[name].partitions, strict=True):
            rows = parquet.read(store.files.local(part.file(".parquet")))
            assert rows.equals(parquet.read(other_store.files.local(other.file(".parquet"))))
