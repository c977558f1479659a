"""Very many partitions: what opening a snapshot, reading its lists, committing one more and building again cost.

    python benchmarks/snapshots.py [--partitions N] [--json FILE]

The snapshot is synthetic: N partitions in three tables, of one file each, which are not there. The commit is given
what a build has at its end, all artifacts in memory, one of them new. The memory that is built again is a real one of
some documents with BM25, all of whose partitions, shards and intermediate results were copied (by hard links, under
other labels and fingerprints) until there are N; nothing of it is to be computed. Each figure is of a process of its
own, beyond its imports: CPU time of the call, by how much the process's peak memory grew, and that peak.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from report import publish

import mnemodex
from mnemodex.pipelines.unchanged import UpToDate
from mnemodex.retrievers.snapshot import Snapshot
from mnemodex.schemas.manifest import Artifact, Artifacts, FileEntry, Manifest, Stats, TableEntry
from mnemodex.schemas.recipe import parse_recipe
from mnemodex.schemas.store.store import Store, close_marker, open_store

if TYPE_CHECKING:
    from collections.abc import Callable

TABLES = ("documents", "chunks", "embeddings/minilm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--partitions", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        memory = Path(name) / "memory"
        write(memory, options.partitions)
        copy_results(Path(name), options.partitions)
        rows = [measured(what, memory) for what in MEASURED]
        written = len(list((memory / "snapshots" / "lists").iterdir()))
        root = (memory / "snapshots" / "000001.json").stat().st_size
    publish(
        f"A snapshot of {options.partitions} partitions in {len(TABLES)} tables: {root} bytes and {written} list files",
        rows,
        json_path=options.json,
    )


def write(memory: Path, partitions: int) -> None:
    """Commit the snapshot."""
    store = Store(memory)
    store.prepare()
    numbers = {table: range(first, partitions, len(TABLES)) for first, table in enumerate(TABLES)}
    entries = {
        table: TableEntry(name=table, partitions=Artifacts(artifact(table, number) for number in numbers[table]))
        for table in TABLES
    }
    store.commit(manifest(entries), former=None)


def manifest(tables: dict[str, TableEntry]) -> Manifest:
    none: dict[str, Any] = {"name": "", "parent": None, "parent_sha256": None, "created": "", "recipe": {}}
    return Manifest(**none, recipe_hash="recipe", tables=tables, indexes={}, versions={})


def artifact(table: str, number: int) -> Artifact:
    made = hashlib.sha256(f"{table} {number}".encode()).hexdigest()
    path = f"tables/{table}/part-{number:07d}-{made[:20]}-{made[20:30]}.parquet"
    files = (FileEntry(path=path, bytes=50_000_000, sha256=made),)
    stats = Stats(seconds=1.5, cpu_seconds=1.25)
    return Artifact(label=f"part-{number:07d}", fingerprint=made[:20], rows=65_536, files=files, stats=stats)


def copy_results(folder: Path, partitions: int) -> None:
    """Build a small memory, copy what it has, and leave what a build of all that leaves behind."""
    recipe = words(folder)
    result = mnemodex.build(recipe, local=True)
    store, former = open_store(folder / "built")
    copies = partitions // sum(map(len, former.lists()))

    def copied(artifacts: Artifacts) -> Artifacts:
        return Artifacts(copy(store, part, number) for number in range(copies) for part in artifacts)

    current = store.commit(former.replaced(copied), former=former)
    UpToDate(store, parse_recipe(recipe, name="recipe", base=folder), None).remember(current, result)


def words(folder: Path) -> dict[str, Any]:
    """Return a recipe, and write its source where there is none."""
    source = folder / "documents.jsonl"
    if not source.exists():
        source.write_text("".join(f'{{"id": "{number}", "text": "Document {number}."}}\n' for number in range(10)))
    return {"source": str(source), "memory": str(folder / "built"), "indexes": {"words": {"type": "bm25"}}}


def copy(store: Store, part: Artifact, number: int) -> Artifact:
    """Link the files of a result under another name, and write their marker."""
    label, made = f"{part.label}-{number:06d}", hashlib.sha256(f"{part.place} {number}".encode()).hexdigest()[:20]
    place = f"{part.place.removesuffix(f'{part.label}-{part.fingerprint}')}{label}-{made}"
    files = []
    for file in part.files:
        moved = file.model_copy(update={"path": place + file.path.removeprefix(part.place)})
        (store.root / moved.path).parent.mkdir(exist_ok=True)
        # Documents that nothing is dropped of are named twice.
        with contextlib.suppress(FileExistsError):
            (store.root / moved.path).hardlink_to(store.root / file.path)
        files.append(moved)
    made_copy = part.model_copy(update={"label": label, "fingerprint": made, "files": tuple(files), "also": ()})
    (store.root / made_copy.marker).write_bytes(close_marker(made_copy))
    return made_copy


def opening(memory: Path) -> Callable[[], object]:
    return lambda: Snapshot.open(memory)


def reading(memory: Path) -> Callable[[], object]:
    snapshot = open_store(memory)[1]
    return lambda: sum(part.rows for part in snapshot.artifacts())


def committing(memory: Path) -> Callable[[], object]:
    store = Store(memory)
    former = open_store(memory)[1]
    for entry in former.tables.values():
        entry.partitions.load()
    parts = {name: [*entry.partitions] for name, entry in former.tables.items()}
    parts[TABLES[0]].append(artifact(TABLES[0], -1))
    entries = {name: TableEntry(name=name, partitions=Artifacts(kept)) for name, kept in parts.items()}
    grown = manifest(entries)
    # Loads what a first commit imports.
    write(memory.with_name("small"), len(TABLES))
    return lambda: store.commit(grown, former=former)


def building(memory: Path) -> Callable[[], object]:
    recipe = words(memory.parent)

    def build() -> None:
        result = mnemodex.build(recipe)
        if result.snapshot != "000002" or result.committed or any(step.computed for step in result.steps):
            sys.exit(f"the memory was not up to date: {result.to_json()}")

    return build


MEASURED = {
    "opened": opening,
    "all lists read, one artifact after the other": reading,
    "one more partition committed": committing,
    "built again, nothing to compute": building,
}


def measured(what: str, memory: Path) -> dict[str, Any]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--", what, str(memory)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return {"what": what, **figures}


def measure(what: str, memory: Path) -> None:
    call = MEASURED[what](memory)
    before, spent, started = peak(), time.process_time(), time.perf_counter()
    call()
    figures = {"CPU s": time.process_time() - spent, "seconds": time.perf_counter() - started}
    print(json.dumps({**figures, "MB more": (peak() - before) / 1e6, "peak MB": peak() / 1e6}))


def peak() -> int:
    """Return the process's peak memory so far, in bytes. What `getrusage` says may be its parent's."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    if sys.argv[1:2] == ["--"]:
        measure(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
