"""What a second build costs: unchanged, with other chunks, with a source that grew.

python benchmarks/rebuild.py [--rows N] [--json FILE]

Each build is a process of its own, timed from outside, over N documents of generated text with BM25 and, unless
--words, a dense index.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from report import publish

import mnemodex

_WORDS = "river stone cloud engine ledger winter copper violet harbor signal meadow lantern orbit thread marble"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--words", action="store_true", help="no dense index")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        publish("Builds", measure(Path(folder), options.rows, dense=not options.words), json_path=options.json)


def measure(folder: Path, rows: int, *, dense: bool) -> list[dict[str, Any]]:
    """Build five times, and compare the grown memory with a fresh one."""
    source = folder / "corpus.jsonl"
    source.write_text(documents(0, rows), encoding="utf-8")
    indexes = {"words": {"type": "bm25"}} | ({"dense": {"type": "dense"}} if dense else {})
    recipe = {"memory": str(folder / "memory"), "source": str(source), "indexes": indexes}
    chunked = {**recipe, "chunks": {"by": "tokens", "size": 16, "overlap": 4}}
    results = [
        build("first", folder, recipe),
        build("unchanged", folder, recipe),
        build("other chunks", folder, chunked),
    ]
    build("back", folder, recipe)
    with source.open("a", encoding="utf-8") as file:
        file.write(documents(rows, rows + 10))
    results.append(build("10 lines more", folder, recipe))
    results.append(build("10 lines more, fresh", folder, {**recipe, "memory": str(folder / "fresh")}))
    grown, fresh = (mnemodex.open(folder / name).snapshot.manifest for name in ("memory", "fresh"))
    # An index that grew has other shards than one that was built at once.
    same = all(table.partitions.same_results(fresh.tables[name].partitions) for name, table in grown.tables.items())
    results[-1]["tables equal to the grown one's"] = str(same)
    return results


def build(name: str, folder: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """Build in a new process; wall seconds and what was computed."""
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    started = time.perf_counter()
    command = [sys.executable, "-m", "mnemodex", "build", str(path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    result = json.loads(done.stdout)
    computed = {step["name"]: f"{step['computed']}/{step['partitions']}" for step in result["steps"]}
    return {
        "build": name,
        "seconds": seconds,
        "engine": result["engine"] or "none",
        "computed": str(computed),
    }


def documents(start: int, end: int) -> str:
    """JSON lines, the same for the same numbers."""
    lines = []
    for number in range(start, end):
        words = random.Random(number).choices(_WORDS.split(), k=40)  # noqa: S311 - not for security
        lines.append(json.dumps({"id": f"d{number}", "title": f"Note {number}", "text": " ".join(words)}) + "\n")
    return "".join(lines)


if __name__ == "__main__":
    main()
