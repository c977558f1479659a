"""How fast and how well a built million of questions is searched: the measurements of `qa_scale.py`."""

from __future__ import annotations

import time
from collections import Counter
from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np
from qa_texts import Float32s, asked_questions

import mnemodex

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

K, THREADS, RUNS = 10, 2, 5
TUNING = 4
"""One question in so many tunes the indexes."""
INDEXES = {
    "flat": {"type": "qa", "factory": "SQ8"},
    "graph": {"type": "qa", "factory": "HNSW32_SQ8", "target_recall": 0.98},
    "lists": {"type": "qa", "factory": "IVF4096,PQ192x4fs,Refine(SQfp16)"},
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


class Timer:
    """Seconds in functions that open and search, by what they do."""

    def __init__(self) -> None:
        from mnemodex.indexers.dense.searcher import DenseSearcher
        from mnemodex.retrievers.qa.tables import PairTables
        from mnemodex.schemas.store import local_files

        self.seconds: Counter[str] = Counter()
        parts: tuple[tuple[str, Any, str], ...] = (
            ("hashes", local_files, "sha256"),
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


def measured(folder: Path, rows: int) -> list[int]:
    """Return the numbers of the questions that are asked, without those that tune."""
    asked = len(np.load(folder / "vectors.npy", mmap_mode="r")) - rows
    return [rows + number for number in range(asked) if number % TUNING]


def exact(folder: Path, rows: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the best ten rows of every question that is measured."""
    from mnemodex.indexers.dense.vectors import exact_search

    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    blocks = (np.array(vectors[start : min(start + 100_000, rows)]) for start in range(0, rows, 100_000))
    return exact_search(vectors[measured(folder, rows)], blocks, K, metric="ip")[1]


def recall(found: np.ndarray[Any, Any], nearest: np.ndarray[Any, Any]) -> float:
    return float(np.mean([np.isin(one, other).mean() for one, other in zip(nearest, found, strict=True)]))


def search(folder: Path, rows: int, name: str) -> dict[str, Any]:
    """Search all questions at once, and what of it is not FAISS's."""
    from mnemodex.indexers.dense.devices import set_threads

    set_threads(THREADS)
    timer = Timer()
    questions = [question(number) for number in measured(folder, rows)]
    asked = len(questions)
    started = time.perf_counter()
    opened = mnemodex.open(folder / "memory", encoders={"stored": Stored(folder / "vectors.npy")})
    retriever: Any = opened.retriever(name)
    opening, hashes = time.perf_counter() - started, timer.seconds["hashes"]
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
        "all but FAISS, ms": 1000 * (best["all"] - best["vectors"] - best["index"]) / asked,
        "bytes": entry.bytes,
        "open, s": opening,
        "of it hashes, s": hashes,
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
    asked = np.load(folder / "vectors.npy", mmap_mode="r")[measured(folder, rows)]
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


def encode(data: Path) -> dict[str, Any]:
    """Encode the questions by MiniLM."""
    from mnemodex.indexers.dense.devices import set_threads
    from mnemodex.indexers.encoders.base import open_encoder
    from mnemodex.schemas.sections import Embedding

    set_threads(THREADS)
    encoder = open_encoder(Embedding(), threads=THREADS)
    questions = [text for number, text in enumerate(asked_questions(data)) if number % TUNING]
    encoder.encode_queries(questions[:64])
    started, spent = time.perf_counter(), time.process_time()
    encoder.encode_queries(questions)
    seconds, cpu = time.perf_counter() - started, time.process_time() - spent
    return {
        "index": "MiniLM alone",
        "questions/s": len(questions) / seconds,
        "CPU ms a question": 1000 * cpu / len(questions),
    }
