"""Fields of the metadata as typed columns, and as JSON: what they cost a build, and what they save a filter."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import mnemodex

if TYPE_CHECKING:
    from collections.abc import Callable

_FILTERS = {
    "true": "true",
    "price > 99": "(d.metadata->>'price')::DOUBLE > 99",
    "seen >= '2024-01-01'": "(d.metadata->>'seen')::TIMESTAMP >= '2024-01-01'",
    "list_contains(tags, 'x')": "list_contains((d.metadata->'tags')::VARCHAR[], 'x')",
}
"""Filters by columns, and the same ones by JSON."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments.rows)


def measure(folder: Path, rows: int) -> None:
    """Print the seconds of both builds, and of each filter in the memory that has both forms."""
    write_rows(folder / "rows.jsonl", rows)
    for name, declared in (("JSON", {"metadata": {}}), ("typed", {})):
        recipe = {
            "source": {"path": str(folder / "rows.jsonl"), **declared},
            "memory": str(folder / name),
            "indexes": {},
        }
        result = mnemodex.build(recipe, local=True)
        (documents,) = (step.seconds for step in result.steps if step.name == "documents")
        size = mnemodex.open(folder / name).snapshot.manifest.tables["documents"].bytes
        print(f"{name}: build {result.seconds:.1f} s, documents {documents:.1f} s, {size / 1e6:.1f} MB")
    memory, fresh = mnemodex.open(folder / "typed"), count()
    for filters in _FILTERS.items():
        # The last filters are cached.
        times = [
            seconds(lambda where=where: memory.ids_where(f"({where}) AND {next(fresh)} >= 0")) for where in filters
        ]
        print(f"{filters[0]}: {times[0]:.2f} s, as JSON {times[1]:.2f} s")
    for where in ("price > 99", "(metadata->>'price')::DOUBLE > 99"):
        query = f"SELECT count(*) FROM documents WHERE {where}"  # noqa: S608 - the filters are above
        print(f"{query}: {seconds(lambda query=query: memory.sql(query)):.2f} s")


def write_rows(path: Path, rows: int) -> None:
    """Write short documents with four fields of metadata."""
    chance = random.Random(0)  # noqa: S311 - no secret
    with path.open("w") as file:
        for number in range(rows):
            row = {
                "id": number,
                "text": f"note {number} of the harbour",
                "price": round(chance.random() * 100, 2),
                "seen": f"20{chance.randrange(10, 25)}-0{chance.randrange(1, 9)}-11T10:00:00Z",
                "lang": chance.choice("ab"),
                "tags": [chance.choice("xyz") for _ in range(2)],
            }
            file.write(json.dumps(row) + "\n")


def seconds(run: Callable[[], object]) -> float:
    """Return the median of five runs after a first one."""
    times = []
    for _ in range(6):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])


if __name__ == "__main__":
    main()
