"""Measure a million question-answer pairs: what each step of a build costs, and how fast the indexes answer.

    python benchmarks/qa_scale.py --data FOLDER [--rows N N N] [--json FILE]

Questions are texts with the vectors of `qa_texts.py`; one pair in 20 repeats a question, and every ten pairs have a
document, which holds nine of their answers. Each size is built in a process of its own without Ray, in which units run
one after the other. Of the last size the questions that `qa_texts.py` asks are searched for in one batch by two
threads, beside PAQ's setting (FAISS's HNSW over SQ8: M 32, efConstruction and efSearch 128).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qa_texts import Float32s, copies, real_vectors
from report import publish
from scale import Meter, growth_rows

import mnemodex

if TYPE_CHECKING:
    from collections.abc import Sequence

K, THREADS, RUNS = 10, 2, 3
INDEXES = {
    "flat": {"type": "qa", "factory": "SQ8"},
    "graph": {"type": "qa", "factory": "HNSW32_SQ8", "target_recall": 0.98},
    "lists": {"type": "qa", "factory": "IVF4096,PQ96x4fs,Refine(SQ8)"},
}


class Stored:
    """Vectors of texts that end in the number of their row."""

    identity = "stored"

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self.dimension = 384

    def encode(self, texts: Sequence[str]) -> Float32s:
        matrix = np.load(self._path, mmap_mode="r")
        vectors: Float32s = matrix[[int(text.rpartition("#")[2]) for text in texts]]
        return vectors


def question(number: int) -> str:
    return f"what is the name of the thing that is number #{number}"


def write_data(folder: Path, rows: int, texts: Float32s, asked: Float32s) -> None:
    """Write vectors, those that are asked last; documents; and pairs."""
    order = np.random.default_rng(1).permutation(rows)
    vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (rows + len(asked), 384))
    start = 0
    for block in copies(texts, rows):
        vectors[order[start : start + len(block)]] = block
        start += len(block)
    vectors[rows:] = asked
    vectors.flush()
    with (folder / "pairs.jsonl").open("w") as pairs, (folder / "corpus.jsonl").open("w") as corpus:
        for number in range(rows + rows // 20):
            row = {
                "id": f"p{number}",
                "question": f"{question(number % rows).capitalize()}?",
                "answers": [f"Answer {number}"],
                "passage_id": f"d{number // 10}",
            }
            pairs.write(json.dumps(row) + "\n")
        for number in range(rows // 10 + rows // 200):
            said = " ".join(f"It is said that Answer {number * 10 + one} is one." for one in range(9))
            corpus.write(json.dumps({"id": f"d{number}", "title": f"Number {number}", "text": said}) + "\n")


def build(folder: Path, indexes: Sequence[str]) -> dict[str, Any]:
    """Build once and once more; what each step took."""
    recipe = {
        "memory": str(folder / "memory"),
        "source": str(folder / "corpus.jsonl"),
        "qa_pairs": {"from": str(folder / "pairs.jsonl")},
        "embed": {"stored": {}},
        "indexes": {name: INDEXES[name] for name in indexes},
    }
    meter = Meter()
    meter.install()
    costs = []
    for _ in range(2):
        spent = time.process_time()
        result = mnemodex.build(recipe, encoders={"stored": Stored(folder / "vectors.npy")}, local=True)
        costs.append(time.process_time() - spent)
    manifest = mnemodex.open(folder / "memory").snapshot.manifest
    kept = {**manifest.tables, **manifest.caches, **manifest.indexes}
    return {
        "cpu_seconds": costs[0] - costs[1],
        "again": costs[1],
        "partitions": max(step.partitions for step in result.steps),
        "steps": {name: {"cpu_seconds": meter.cpu[name], "peak_bytes": meter.peaks[name]} for name in meter.cpu},
        "bytes": {name: entry.bytes for name, entry in kept.items()},
    }


class Timer:
    """Seconds in functions of the search path, by what they do."""

    def __init__(self) -> None:
        from mnemodex.indexers.dense.searcher import DenseSearcher
        from mnemodex.retrievers.qa.tables import PairTables

        self.seconds: Counter[str] = Counter()
        parts: tuple[tuple[str, type[Any], str], ...] = (
            ("vectors", Stored, "encode"),
            ("index", DenseSearcher, "search"),
            ("chunks", PairTables, "chunks_of"),
            ("answers", PairTables, "read"),
        )
        for name, owner, function in parts:
            setattr(owner, function, self._timed(name, getattr(owner, function)))

    def _timed(self, name: str, function: Any) -> Any:
        @wraps(function)
        def timed(*args: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                self.seconds[name] += time.perf_counter() - started

        return timed


def exact(folder: Path, rows: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the best ten rows of every question that is asked."""
    from mnemodex.indexers.dense.vectors import exact_search

    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    blocks = (np.array(vectors[start : min(start + 100_000, rows)]) for start in range(0, rows, 100_000))
    return exact_search(np.array(vectors[rows:]), blocks, K, metric="ip")[1]


def recall(found: np.ndarray[Any, Any], nearest: np.ndarray[Any, Any]) -> float:
    return float(np.mean([np.isin(one, other).mean() for one, other in zip(nearest, found, strict=True)]))


def search(folder: Path, rows: int, name: str) -> dict[str, Any]:
    """Search all questions at once, and what of it is not FAISS's."""
    from mnemodex.indexers.dense.devices import set_threads

    set_threads(THREADS)
    timer = Timer()
    asked = len(np.load(folder / "vectors.npy", mmap_mode="r")) - rows
    questions = [question(number) for number in range(rows, rows + asked)]
    started = time.perf_counter()
    opened = mnemodex.open(folder / "memory", encoders={"stored": Stored(folder / "vectors.npy")})
    retriever: Any = opened.retriever(name)
    opening = time.perf_counter() - started
    first = time.perf_counter()
    retriever.search(questions[:1], K).answers()
    first = time.perf_counter() - first
    retriever.search(questions, K).answers()
    best: dict[str, float] = {}
    for _ in range(RUNS):
        timer.seconds.clear()
        started, spent = time.perf_counter(), time.process_time()
        hits = retriever.search(questions, K)
        hits.answers()
        took = {"all": time.perf_counter() - started, "cpu": time.process_time() - spent, **timer.seconds}
        best = min(best or took, took, key=lambda one: one["all"])
    numbers = [[int(pair.question.rstrip("?").rpartition("#")[2]) for pair in row] for row in hits.pairs()]
    entry = opened.snapshot.index(name)
    beside = best["all"] - best["vectors"] - best["index"]
    return {
        "index": f"{name}: {INDEXES[name]['factory']}",
        "search": str(entry.search.value or ""),
        "stated recall@10": entry.recall.recall if entry.recall else None,
        "recall@10": recall(np.array(numbers), exact(folder, rows)),
        "questions/s": asked / (best["all"] - best["vectors"]),
        "CPU ms a question": 1000 * best["cpu"] / asked,
        "of it FAISS, ms": 1000 * best["index"] / asked,
        "chunks, ms": 1000 * best["chunks"] / asked,
        "answers, ms": 1000 * best["answers"] / asked,
        "all but FAISS, ms": 1000 * beside / asked,
        "bytes": entry.bytes,
        "open, s": opening,
        "first question, s": first,
    }


def build_paq(folder: Path, rows: int) -> float:
    """Write PAQ's index over the same vectors; CPU seconds."""
    import faiss

    faiss.omp_set_num_threads(THREADS)
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    index = faiss.IndexHNSWSQ(vectors.shape[1], faiss.ScalarQuantizer.QT_8bit, 32)
    index.hnsw.efConstruction = index.hnsw.efSearch = 128
    spent = time.process_time()
    index.train(np.array(vectors[: min(rows, 100_000)]))
    for start in range(0, rows, 100_000):
        index.add(np.array(vectors[start : min(start + 100_000, rows)]))
    spent = time.process_time() - spent
    faiss.write_index(index, str(folder / "paq.faiss"))
    return spent


def search_paq(folder: Path, rows: int) -> dict[str, Any]:
    """Search all questions at once."""
    import faiss

    faiss.omp_set_num_threads(THREADS)
    started = time.perf_counter()
    index = faiss.read_index(str(folder / "paq.faiss"))
    opening = time.perf_counter() - started
    asked = np.array(np.load(folder / "vectors.npy", mmap_mode="r")[rows:])
    took = []
    for _ in range(RUNS):
        started, used = time.perf_counter(), time.process_time()
        found = index.search(asked, K)[1]
        took.append((time.perf_counter() - started, time.process_time() - used))
    seconds, cpu = min(took)
    return {
        "index": "PAQ: HNSW over SQ8 by L2",
        "search": "128",
        "recall@10": recall(found, exact(folder, rows)),
        "questions/s": len(asked) / seconds,
        "CPU ms a question": 1000 * cpu / len(asked),
        "bytes": (folder / "paq.faiss").stat().st_size,
        "open, s": opening,
    }


def part(name: str, *arguments: Any) -> Any:
    """Do a part in a new process."""
    command = [sys.executable, __file__, "--part", name, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def do(name: str, folder: Path, rest: list[str]) -> Any:
    """Do a part in this process."""
    if name == "build":
        return build(folder, rest)
    if name == "search":
        return search(folder, int(rest[0]), rest[1])
    return (build_paq if name == "build-paq" else search_paq)(folder, int(rest[0]))


def table(sizes: list[int], results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for the whole build and for each step and result."""
    figures: dict[str, list[float]] = {"CPU seconds": [result["cpu_seconds"] for result in results]}
    figures["CPU seconds of a build that computes nothing"] = [result["again"] for result in results]
    figures["partitions"] = [result["partitions"] for result in results]
    for label in ("cpu_seconds", "peak_bytes"):
        for name in results[-1]["steps"]:
            values = [result["steps"].get(name, {}).get(label, 0) for result in results]
            figures[f"{label.replace('_', ' ')}, {name}"] = values
    for name in results[-1]["bytes"]:
        figures[f"bytes, {name}"] = [result["bytes"].get(name, 0) for result in results]
    return growth_rows(sizes, figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, help="the folder of data sets")
    parser.add_argument("--vectors", type=Path, help="keep the vectors of real texts in this file")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--indexes", nargs="*", default=list(INDEXES), choices=INDEXES)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part is not None:
        name, folder, *rest = options.part
        print(json.dumps(do(name, Path(folder), rest)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        texts, asked = real_vectors(options.data, options.vectors or Path(scratch) / "real.npz")
        builds = []
        for rows in options.rows:
            folder = Path(scratch) / str(rows)
            folder.mkdir()
            write_data(folder, rows, texts, asked)
            builds.append(part("build", folder, *options.indexes))
        publish("A build", table(options.rows, builds), json_path=options.json)
        if options.indexes:
            spent = part("build-paq", folder, rows)
            searches = [part("search", folder, rows, name) for name in options.indexes]
            searches.append({**part("search-paq", folder, rows), "build, CPU s": spent})
            publish("A batch of questions", searches, json_path=None)


if __name__ == "__main__":
    main()
