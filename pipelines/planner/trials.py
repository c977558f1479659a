"""Builds of a sample, each in a process of its own with one CPU, and what they took."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import psutil

from mnemodex.indexers.base import IndexStats
from mnemodex.pipelines.planner.figures import ResultCost, TrialBuild, UnitCost
from mnemodex.pipelines.planner.sample import sample_recipe
from mnemodex.retrievers.snapshot import Snapshot
from mnemodex.schemas.errors import StageFailedError, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from mnemodex.pipelines.planner.sample import Sample
    from mnemodex.schemas.manifest import Artifact, Manifest
    from mnemodex.schemas.recipe import Recipe

_LONGEST = 900.0
"""Seconds after which a build of a sample is given up."""
_LOOK_SECONDS = 0.1
"""Between two looks at the processes of Ray."""


def run_alone(words: Sequence[str], cwd: Path) -> tuple[str, float, int]:
    """Run a module of ours in a process of its own with one CPU; return its output, CPU seconds and peak memory.

    Raises:
        StageFailedError: it failed, with its own message.
        UserError: so did it, because of what the user gave.
    """
    errors = (cwd / "errors.txt").open("w+", encoding="utf-8")
    with errors, (cwd / "output.txt").open("w+", encoding="utf-8") as output:
        allowed = os.sched_getaffinity(0)
        # The child inherits what its parent's thread has: one CPU, so that no thread waits for another.
        os.sched_setaffinity(0, {_least_busy(allowed)})
        try:
            command = [sys.executable, "-m", *words]
            process = subprocess.Popen(command, cwd=cwd, stdout=output, stderr=errors)  # noqa: S603 - our own module
        finally:
            os.sched_setaffinity(0, allowed)
        timer = threading.Timer(_LONGEST, process.kill)
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            timer.cancel()
        for file in (errors, output):
            file.seek(0)
        _check(process.returncode, errors.read())
        return output.read(), usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10


def _least_busy(allowed: AbstractSet[int]) -> int:
    shares = psutil.cpu_percent(0.2, percpu=True)
    return min(allowed, key=lambda cpu: shares[cpu] if cpu < len(shares) else 0.0)


def build_sample(recipe: Recipe, sample: Sample, documents: int, folder: Path) -> TrialBuild:
    """Build the first documents of a sample in a folder, in `memory`, and return what it took.

    Raises:
        StageFailedError: the build failed.
        UserError: it refused what the user gave.
    """
    folder.mkdir(parents=True)
    written = folder / "recipe.json"
    written.write_text(json.dumps(sample_recipe(recipe, sample, documents, folder)), encoding="utf-8")
    began = time.perf_counter()
    _, cpu, peak = run_alone(("mnemodex", "build", str(written), "--local", "--json"), folder)
    return TrialBuild(
        documents=documents,
        source_bytes=sum(len(line.encode()) + 1 for line in sample.lines[:documents]),
        cpu=cpu,
        seconds=time.perf_counter() - began,
        peak_bytes=peak,
        results=results_of(Snapshot.open(folder / "memory").manifest),
    )


def build_with_ray(recipe: Recipe, sample: Sample, documents: int, folder: Path) -> TrialBuild:
    """Build the first documents of a sample on Ray with all CPUs of this machine; CPU seconds are of all processes.

    Raises:
        StageFailedError: the build failed.
        UserError: it refused what the user gave.
    """
    folder.mkdir(parents=True)
    written, environment = folder / "recipe.json", folder / "environment.json"
    written.write_text(json.dumps(sample_recipe(recipe, sample, documents, folder)), encoding="utf-8")
    # With an environment, Ray is used however little there is to do.
    environment.write_text("{}", encoding="utf-8")
    began = time.perf_counter()
    words = ("mnemodex", "build", str(written), "--runtime-env", str(environment), "--json")
    with (folder / "errors.txt").open("w+", encoding="utf-8") as errors:
        process = psutil.Popen([sys.executable, "-m", *words], cwd=folder, stdout=subprocess.DEVNULL, stderr=errors)
        seen: dict[tuple[int, float], float] = {}
        peak = 0
        try:
            while process.poll() is None and time.perf_counter() - began < _LONGEST:
                peak = max(peak, _look(process, seen))
                time.sleep(_LOOK_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
        errors.seek(0)
        _check(process.wait(), errors.read())
    return TrialBuild(
        documents=documents,
        source_bytes=0,
        cpu=sum(seen.values()),
        seconds=time.perf_counter() - began,
        peak_bytes=peak,
        results=results_of(Snapshot.open(folder / "memory").manifest),
    )


def _look(root: psutil.Process, seen: dict[tuple[int, float], float]) -> int:
    """Note what a process and all below it have used by now; return the memory of the largest."""
    largest = 0
    for process in [root, *root.children(recursive=True)]:
        try:
            times, memory = process.cpu_times(), process.memory_info()
            seen[process.pid, process.create_time()] = times.user + times.system
        except psutil.Error:
            continue
        largest = max(largest, memory.rss - memory.shared)
    return largest


def _check(code: int, errors: str) -> None:
    if code:
        last = (errors.strip().splitlines() or [f"it ended with {code}"])[-1]
        failure = UserError if code == UserError.exit_code else StageFailedError
        raise failure(f"the build of a sample failed: {last.removeprefix('error: ')}")


def results_of(manifest: Manifest) -> dict[str, ResultCost]:
    """Return what each result of a snapshot took, by its label; documents first.

    Files that a table and an intermediate result share are the table's; what two indexes share was built once.
    """
    kept: dict[str, Any] = {name: entry.partitions for name, entry in manifest.tables.items()}
    kept |= {name: entry.partitions for name, entry in manifest.caches.items()}
    kept |= {name: entry.shards for name, entry in manifest.indexes.items()}
    labels = {part.label for part in manifest.tables["documents"].partitions} if "documents" in manifest.tables else ()
    found: dict[str, ResultCost] = {}
    counted: set[str] = set()
    for name, artifacts in kept.items():
        parts = [part for part in artifacts if name in manifest.indexes or part.place not in counted]
        if parts:
            found[name] = _cost(parts, set(labels), counted)
            counted.update(part.place for part in parts)
    return found


def _cost(parts: list[Artifact], labels: set[str], counted: set[str]) -> ResultCost:
    units = tuple(
        UnitCost(
            rows=part.rows,
            cpu=0.0 if part.place in counted else part.stats.cpu_seconds,
            files=_files(part),
        )
        for part in parts
    )
    stats = parts[0].stats.model_dump()
    shard_rows = parts[0].stats.of(IndexStats).shard_rows if "rows" in stats else 0
    if shard_rows > 1:
        return ResultCost(cut="shards", units=units, shard_rows=shard_rows)
    # A shard is called by the first of its partitions.
    same = {part.label.partition("-row")[0] for part in parts} == labels
    ranges = all(re.fullmatch("[0-9]{5}", part.label) for part in parts)
    return ResultCost(cut="partitions" if same else "ranges" if ranges else "whole", units=units)


def _files(part: Artifact) -> dict[str, int]:
    """Return the bytes of a unit's files by their names: of a shard's files, and the endings of a partition's."""
    sizes: dict[str, int] = {}
    for file in part.files:
        path = PurePosixPath(file.path)
        inside = file.path.removeprefix(part.place).startswith("/") or part.folder != part.place
        name = path.name if inside and part.label not in path.name else path.suffix
        sizes[name] = sizes.get(name, 0) + file.bytes
    return sizes
