"""How the cost of every step grows with the corpus: CPU time, bytes, and memory of the units.

python benchmarks/scale.py [--rows N N N] [--json FILE]

One-line documents with names in them, an encoder that hashes words, and indexes of BM25, n-grams, vectors (IVF) and
bridge-lite, each size built in a process of its own, in which no Ray runs: units one after the other, so that a unit's
memory is what the process takes beyond what it had. The exponent is of the last step in size: 1 is linear.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from report import publish

import mnemodex

if TYPE_CHECKING:
    from collections.abc import Sequence

_DIMENSION = 64


class HashingEncoder:
    """The sum of a pseudo-random vector for each word: cheap, and near for texts that share words."""

    dimension = _DIMENSION
    identity = "hashing-64"

    def __init__(self) -> None:
        self._table = np.random.default_rng(0).standard_normal((4096, _DIMENSION)).astype(np.float32)

    def encode(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        words = [[hash_word(word) for word in text.split()] or [0] for text in texts]
        starts = np.cumsum([0, *map(len, words)])[:-1]
        vectors: np.ndarray[Any, np.dtype[np.float32]] = np.add.reduceat(self._table[np.concatenate(words)], starts)
        return vectors


def hash_word(word: str) -> int:
    """The same in every process."""
    return int.from_bytes(word.encode()[:8], "little") * 2654435761 % (1 << 32) >> 20


def write_corpus(path: Path, rows: int) -> None:
    """JSON lines: words by Zipf's law, and two of some thousand names, of which a larger corpus has more."""
    generator = np.random.default_rng(7)
    words = [f"w{number:x}" for number in range(50_000)]
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, rows, 10_000):
            count = min(10_000, rows - start)
            drawn = (generator.zipf(1.3, (count, 12)) - 1) % len(words)
            names = generator.integers(0, max(rows // 20, 10), (count, 2))
            for number in range(count):
                first, second = (f"{_name(name)}" for name in names[number].tolist())
                text = " ".join(words[word] for word in drawn[number])
                line = {"id": str(start + number), "title": first, "text": f"{first} met {second} and {text}."}
                file.write(json.dumps(line) + "\n")


def _name(number: int) -> str:
    """Two capitalised words."""
    source = random.Random(number)  # noqa: S311 - not for security
    parts = ("ka", "lo", "mi", "ren", "dor", "ves", "tal", "uni", "gor", "sha")
    return " ".join("".join(source.choices(parts, k=3)).capitalize() for _ in range(2))


class Meter:
    """Memory of each step's units: anonymous bytes beyond what the process had when the unit began."""

    def __init__(self) -> None:
        self.peaks: Counter[str] = Counter()
        self.cpu: Counter[str] = Counter()
        self._step = ""
        self._before = 0
        threading.Thread(target=self._sample, daemon=True).start()

    def install(self) -> None:
        """Measure around every unit of this process."""
        from mnemodex.pipelines.worker import Worker

        compute = Worker.__call__

        def measured(worker: Worker, unit: Any, report: Any) -> Any:
            pa.default_memory_pool().release_unused()
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            spent = time.process_time()
            self._before, self._step = anonymous(), unit.step
            try:
                return compute(worker, unit, report)
            finally:
                self._look()
                self.cpu[unit.step] += time.process_time() - spent
                self._step = ""

        Worker.__call__ = measured  # type: ignore[method-assign]

    def _sample(self) -> None:
        while True:
            self._look()
            time.sleep(0.01)

    def _look(self) -> None:
        step = self._step
        if step:
            self.peaks[step] = max(self.peaks[step], anonymous() - self._before)


def anonymous() -> int:
    """Bytes of this process that belong to no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("RssAnon")))


def build(folder: Path) -> dict[str, Any]:
    """What a build of all kinds of index costs."""
    recipe = {
        "memory": str(folder / "memory"),
        "source": str(folder / "corpus.jsonl"),
        "embed": {"hashing": {}},
        "indexes": {
            "words": {"type": "bm25"},
            "ngrams": {"type": "ngram"},
            "dense": {"type": "dense", "embed": "hashing", "factory": "IVF256,Flat"},
            "names": {"type": "graph", "method": "bridge-lite", "embed": "hashing"},
        },
    }
    return costs_of(recipe, {"hashing": HashingEncoder()})


def costs_of(recipe: dict[str, Any], encoders: dict[str, Any]) -> dict[str, Any]:
    """Build once and once more in this process; what each step took, and what was written."""
    meter = Meter()
    meter.install()
    costs = []
    for _ in range(2):
        spent = time.process_time()
        result = mnemodex.build(recipe, encoders=encoders, local=True)
        costs.append(time.process_time() - spent)
    manifest = mnemodex.open(recipe["memory"]).snapshot.manifest
    kept = {**manifest.tables, **manifest.caches, **manifest.indexes}
    return {
        "cpu_seconds": costs[0] - costs[1],
        "again": costs[1],
        "partitions": max(step.partitions for step in result.steps),
        "steps": {name: {"cpu_seconds": meter.cpu[name], "peak_bytes": meter.peaks[name]} for name in meter.cpu},
        "bytes": {name: entry.bytes for name, entry in kept.items()},
    }


def run(rows: int) -> dict[str, Any]:
    """Build in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder) / "corpus.jsonl", rows)
        command = [sys.executable, __file__, "--build", folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def exponent(small: float, large: float, growth: float) -> float | None:
    """The power of the corpus's size that a figure grows with."""
    return math.log(large / small) / math.log(growth) if small > 0 and large > 0 else None


def growth_rows(sizes: list[int], figures: dict[str, list[float]], unit: str = "") -> list[dict[str, Any]]:
    """A row for each figure, with the exponent of the last growth in size."""
    growth = sizes[-1] / sizes[-2] if len(sizes) > 1 else math.nan
    rows = []
    for name, values in figures.items():
        row: dict[str, Any] = {"figure": name}
        row |= {f"{size:,}{unit}": value for size, value in zip(sizes, values, strict=True)}
        row["exponent"] = exponent(values[-2], values[-1], growth) if len(values) > 1 else None
        rows.append(row)
    return rows


def table(sizes: list[int], results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for the complete build and for each step and result."""
    figures: dict[str, list[float]] = {"CPU seconds": [result["cpu_seconds"] for result in results]}
    figures["CPU seconds of a build that computes nothing"] = [result["again"] for result in results]
    figures["partitions"] = [result["partitions"] for result in results]
    for group, label in (("steps", "cpu_seconds"), ("steps", "peak_bytes")):
        for name in results[-1][group]:
            values = [result[group].get(name, {}).get(label, 0) for result in results]
            figures[f"{label.replace('_', ' ')}, {name}"] = values
    for name in results[-1]["bytes"]:
        figures[f"bytes, {name}"] = [result["bytes"].get(name, 0) for result in results]
    return growth_rows(sizes, figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build is not None:
        print(json.dumps(build(options.build)))
        return
    results = [run(rows) for rows in options.rows]
    publish("Growth", table(options.rows, results), json_path=options.json)


if __name__ == "__main__":
    main()
