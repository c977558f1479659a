"""What reading a source costs: a large file, many files, and the same again when it has moved.

python benchmarks/sources.py [--rows N] [--files N] [--json FILE]

Documents are read, checked and cut into chunks by `mnemodex build`, in which each process may open 1,024 files, and by
a plain loop over the same files: each line parsed and written to one Parquet file. CPU time is that of all processes,
Ray's workers included, less that of a build that finds everything done.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from processes import Cost, measure
from report import publish

if TYPE_CHECKING:
    from collections.abc import Sequence

_DESCRIPTORS = 1024
_BATCH = 4096
_ENDINGS = ((".jsonl",), (".txt",), (".jsonl", ".txt", ".md"))
"""Of files of one row."""
_SCHEMA = pa.schema([("key", pa.string()), ("title", pa.string()), ("text", pa.string())])


def write_files(folder: Path, files: int, rows: int, endings: Sequence[str] = (".jsonl",)) -> None:
    """Files of one-line documents, `rows` in all, with one ending after the other; only JSONL may have several rows."""
    generator = random.Random(0)  # noqa: S311 - a corpus, no secret
    words = [f"{generator.choice('bdfglmnprst')}{generator.choice('aeiou')}{number}" for number in range(3000)]
    folder.mkdir()
    for file in range(files):
        ending = endings[file % len(endings)]
        with (folder / f"{file:06d}{ending}").open("w") as lines:
            for row in range(file * rows // files, (file + 1) * rows // files):
                text = " ".join(generator.choices(words, k=12))
                lines.write((json.dumps({"id": f"d{row}", "text": text}) if ending == ".jsonl" else text) + "\n")


def read_loop(folder: Path) -> None:
    """Open and read every file, and nothing else."""
    for path in sorted(folder.rglob("*")):
        path.read_bytes()


def plain_loop(folder: Path, out: Path) -> None:
    """What anyone would write."""
    with pq.ParquetWriter(out, _SCHEMA, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        for path in sorted(folder.rglob("*.jsonl")):
            with path.open() as lines:
                for line in lines:
                    row = json.loads(line)
                    rows.append({"key": row["id"], "title": row.get("title", ""), "text": row["text"]})
                    if len(rows) == _BATCH:
                        writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
                        rows = []
        writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))


def build(folder: Path, memory: Path) -> tuple[Cost, dict[str, dict[str, Any]]]:
    """The cost of a build, and its steps by name."""
    recipe = memory.with_suffix(".yaml")
    source = {"path": str(folder), "format": "mixed" if len({path.suffix for path in folder.iterdir()}) > 1 else None}
    recipe.write_text(json.dumps({"source": source, "memory": str(memory), "indexes": {}}))
    command = [sys.executable, "-m", "mnemodex", "build", str(recipe), "--json"]
    cost = measure(command, descriptors=_DESCRIPTORS)
    return cost, {step["name"]: step for step in json.loads(cost.output)["steps"]}


def compare(name: str, scratch: Path, *, files: int, rows: int) -> list[dict[str, Any]]:
    """A corpus built, found done, moved and built again; against the plain loop."""
    folder, memory = scratch / name.replace(" ", "-"), scratch / f"{name.replace(' ', '-')}.memory"
    write_files(folder, files, rows)
    loop = measure([sys.executable, __file__, "--loop", str(folder), str(scratch / "loop.parquet")])
    first, steps = build(folder, memory)
    nothing, _ = build(folder, memory)
    (folder / "deeper").mkdir()
    for path in folder.glob("*.jsonl"):
        path.rename(folder / "deeper" / f"moved-{path.name}")
    moved, again = build(folder, memory)

    def row(what: str, cost: Cost, less: float, made: dict[str, dict[str, Any]]) -> dict[str, Any]:
        chunks = made.get("chunks", {})
        cpu = cost.cpu_seconds - less
        return {
            "corpus": name,
            "run": what,
            "partitions": made.get("documents", {}).get("partitions"),
            "seconds": cost.seconds,
            "CPU s": cpu,
            "us a row": cpu / rows * 1e6,
            "times the loop": cpu / loop.cpu_seconds,
            "peak MB of a process": round(cost.peak_bytes / 1e6),
            "chunks cut": chunks.get("rows_computed", 0) - chunks.get("rows_reused", 0) if chunks else None,
        }

    return [
        row("plain loop", loop, 0.0, {}),
        row("build", first, nothing.cpu_seconds, steps),
        row("nothing to do", nothing, 0.0, {}),
        row("all files moved", moved, nothing.cpu_seconds, again),
    ]


def many_files(scratch: Path, files: int, endings: Sequence[str]) -> list[dict[str, Any]]:
    """Files of one row: what each costs beyond a row of one file, by opening and reading it; and ten files more."""
    name = " ".join(endings)
    folder, memory, one = scratch / name, scratch / f"{name}.memory", scratch / f"{name}.one"
    write_files(folder, files, files, endings)
    write_files(one, 1, files)
    (scratch / "empty").mkdir(exist_ok=True)
    command = [sys.executable, __file__, "--read"]
    reading, imports = (measure([*command, str(path)]) for path in (folder, scratch / "empty"))
    loop = reading.cpu_seconds - imports.cpu_seconds
    whole, _ = build(one, scratch / f"{name}.one.memory")
    first, steps = build(folder, memory)
    nothing, _ = build(folder, memory)
    for number in range(10):
        (folder / f"more-{number}{endings[0]}").write_text(json.dumps({"id": f"more{number}", "text": "more"}) + "\n")
    more, _ = build(folder, memory)

    def row(what: str, cpu: float, cost: Cost, partitions: int | None = None) -> dict[str, Any]:
        figures = {"CPU s": cpu, "us a file": cpu / files * 1e6, "times reading": cpu / loop}
        peak = round(cost.peak_bytes / 1e6)
        return {"corpus": f"{files:,} files {name}", "run": what, "partitions": partitions, **figures, "peak MB": peak}

    return [
        row("opened and read", loop, reading),
        row("build", first.cpu_seconds, first, steps["documents"]["partitions"]),
        row("build, less one of a file of the same rows", first.cpu_seconds - whole.cpu_seconds, first),
        row("nothing to do", nothing.cpu_seconds, nothing),
        row("ten files more", more.cpu_seconds, more),
    ]


def main() -> None:
    """Run the benchmark, or only one of its loops."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--loop", type=Path, nargs=2)
    parser.add_argument("--read", type=Path)
    options = parser.parse_args()
    if options.loop:
        plain_loop(*options.loop)
        return
    if options.read:
        read_loop(options.read)
        return
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        rows = [
            *compare("one file", scratch, files=1, rows=options.rows),
            *compare("300 files", scratch, files=300, rows=options.rows // 10),
            *compare(f"{options.files} files", scratch, files=options.files, rows=options.files),
        ]
        small = [row for endings in _ENDINGS for row in many_files(scratch, options.files, endings)]
    publish("Sources", rows, json_path=None)
    publish("Files of one row", small, json_path=None)
    if options.json is not None:
        publish("Sources", [*rows, *small], json_path=options.json)


if __name__ == "__main__":
    main()
