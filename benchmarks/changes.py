"""What adding and deleting a few of a memory's documents costs, kind by kind, as a share of its whole build.

python benchmarks/changes.py [--rows N] [--changed N] [--kinds NAME …] [--json FILE]

Each memory has one index over N documents of 100 words (of eight, where every token is a row), a hashing encoder, and
for next tokens a tiny model with random weights; a graph has a triple of every eight words. Pairs of questions and
answers are two a document, one of which asks what nine others ask; n-gram pairs are four spans a document, and BM25. It
is built, given 1 % more documents, then ten; and 1 % of those that it has, chosen at random, are deleted; in a process
each and without Ray.
CPU seconds are those of all threads from the call to its end: what is imported by then was imported by a change before,
that is refused. Searches are the median of 50 questions one by one, each asked before, so that what it reads is in
memory: after the build, after 10 % of the documents were deleted, and after the memory was compacted. At the end the
former snapshots are collected, and one document is purged. Bytes are those of new files; a process's peak is of its
resident memory, mapped files included.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from growth import KINDS as DENSE_KINDS
from growth import passages, tiny_model
from report import publish
from scale import HashingEncoder

import mnemodex
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS: dict[str, dict[str, Any]] = {
    **{name: DENSE_KINDS[name] for name in ("flat", "hnsw", "hnswlib", "ivf", "ngram", "bm25", "next-flat")},
    "seal": {"type": "seal"},
    "hybrid": {"type": "hybrid", "of": ["flat", "bm25"]},
    "graph": {"type": "graph"},
    "qa": {"type": "qa"},
    "qa-joint": {"type": "qa", "key": "question_answer"},
    "ngram-pairs": {"type": "bm25"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--changed", type=int, help="documents that are added, and deleted (default: 1 %% of the rows)")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step is not None:
        print(json.dumps(take(options.folder, options.step)))
        return
    results = []
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as name:
            results.append(measure(Path(name), kind, options.rows, options.changed or options.rows // 100))
        print(results[-1], flush=True)
    publish(f"Changes of {options.rows} documents", results, json_path=options.json)


def measure(folder: Path, kind: str, rows: int, changed: int) -> dict[str, Any]:
    """Build a memory of one kind, and change it."""
    prepare(folder, kind, rows, changed)
    built, searched = run(folder, "build"), run(folder, "search")
    result: dict[str, Any] = {"kind": kind, "build": _cost(built, built), "search, ms": round(searched["ms"], 3)}
    for step in ("add", "add ten", "delete", "delete a tenth", "search", "compact", "search", "gc", "purge"):
        taken = run(folder, step)
        if step == "search":
            name = "search compacted" if "compact" in result else "search after deletions"
            result[name] = f"{taken['ms']:.3f} ms, {taken['ms'] / searched['ms']:.2f} x"
        else:
            result[step] = _cost(taken, built)
    return result


def _cost(step: dict[str, Any], built: dict[str, Any]) -> str:
    share = "" if step is built else f", {step['cpu'] / built['cpu']:.1%}"
    return f"{step['cpu']:.2f} s{share}, {step['bytes'] / 1e6:.2f} MB, peak {step['peak'] / 1e6:.0f} MB"


def take(folder: Path, step: str) -> dict[str, float]:
    """Carry a step out, and return what it took."""
    before = files(folder / "memory")
    result = STEPS[step](folder)
    after = files(folder / "memory")
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**result, "bytes": sum(size for file, size in after.items() if file not in before), "peak": peak}


def files(folder: Path) -> dict[tuple[Path, int], int]:
    """Return the sizes of all files, by path and inode."""
    stats = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {(path, stat.st_ino): stat.st_size for path, stat in stats.items()}


def prepare(folder: Path, kind: str, rows: int, more: int) -> None:
    """Write the corpus, what is added later, and the recipe."""
    lines = passages(rows + more + 10, words=8 if KINDS[kind]["type"] == "knn_lm" else 100)
    for name, part in (("corpus", lines[:rows]), ("more", lines[rows:-10]), ("ten", lines[-10:])):
        (folder / f"{name}.jsonl").write_text("".join(part), encoding="utf-8")
    indexes = {kind: KINDS[kind]}
    for name in KINDS[kind].get("of", ()) if isinstance(KINDS[kind].get("of"), list) else ():
        indexes[name] = KINDS[name]
    if kind == "seal":
        indexes["ngram"] = KINDS["ngram"]
    recipe: dict[str, Any] = {
        "memory": str(folder / "memory"),
        "source": str(folder / "corpus.jsonl"),
        "indexes": dict(reversed(indexes.items())),
    }
    if kind == "ngram-pairs":
        recipe["ngram_pairs"] = {"spans": {"unsupervised": 4}}
    if KINDS[kind]["type"] == "qa":
        write_pairs(folder / "pairs.jsonl", lines)
        recipe["qa_pairs"] = {"from": str(folder / "pairs.jsonl")}
    if KINDS[kind]["type"] in {"dense", "hybrid", "graph", "qa"}:
        recipe["embed"] = {"hashing": {}}
    if KINDS[kind]["type"] == "knn_lm":
        recipe["lm"] = {"tiny": {"model": str(tiny_model(folder / "model")), "window": 64, "overlap": 16}}
    if KINDS[kind]["type"] == "graph":
        write_triples(folder / "triples.jsonl", lines)
        recipe["triples"] = {"from": str(folder / "triples.jsonl")}
    (folder / "recipe.json").write_text(json.dumps(recipe))


def write_triples(path: Path, lines: list[str]) -> None:
    """A triple of every eight words: the first, the second and the third of them."""
    with path.open("w", encoding="utf-8") as file:
        for line in lines:
            row = json.loads(line)
            words = row["text"].split()
            triples = [words[at : at + 3] for at in range(0, len(words) - 2, 8)]
            file.write(json.dumps({"id": row["id"], "entities": [], "triples": triples}) + "\n")


def write_pairs(path: Path, lines: list[str]) -> None:
    """Two questions of every document, the second of which ten documents answer."""
    with path.open("w", encoding="utf-8") as file:
        for number, line in enumerate(lines):
            row = json.loads(line)
            words = row["text"].split()
            for question, answer in ((" ".join(words[:8]), words[9]), (f"what of {number // 10}", words[number % 3])):
                pair = {"question": f"{question}?", "answers": [answer], "passage_id": row["id"]}
                file.write(json.dumps(pair) + "\n")


def run(folder: Path, step: str) -> dict[str, Any]:
    """Carry a step out in a process of its own."""
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def build(folder: Path) -> dict[str, float]:
    recipe = json.loads((folder / "recipe.json").read_text())
    encoders = {"hashing": HashingEncoder()} if "embed" in recipe else {}
    # Imports what a build needs.
    small = {**recipe, "memory": str(folder / "small"), "source": str(folder / "more.jsonl")}
    mnemodex.build(small, encoders=encoders, local=True)
    started = time.process_time()
    mnemodex.build(recipe, encoders=encoders, local=True)
    return {"cpu": time.process_time() - started}


def opened(folder: Path) -> Any:
    recipe = json.loads((folder / "recipe.json").read_text())
    return mnemodex.open(folder / "memory", encoders={"hashing": HashingEncoder()} if "embed" in recipe else {})


def add(folder: Path, *, name: str = "more") -> dict[str, float]:
    memory = opened(folder)
    small = mnemodex.open(folder / "small", encoders=memory._objects and {"hashing": HashingEncoder()})
    small.add([{"id": f"before {name}", "text": "w1 w2"}])
    started = time.process_time()
    memory.add(folder / f"{name}.jsonl")
    return {"cpu": time.process_time() - started}


def delete(folder: Path, *, count: int | None = None, purge: bool = False) -> dict[str, float]:
    memory = opened(folder)
    if count is None:
        count = sum(1 for _ in (folder / "more.jsonl").open(encoding="utf-8"))
    keys = [key for (key,) in memory.sql("SELECT key FROM documents").fetchall()]
    chosen = np.random.default_rng(count).choice(keys, count, replace=False).tolist()
    with contextlib.suppress(QueryError):
        memory.delete(keys=["no such key"])
    small = mnemodex.open(folder / "small", encoders=memory._objects and {"hashing": HashingEncoder()})
    small.delete(keys=small.sql("SELECT key FROM documents LIMIT 1").fetchone(), purge=purge)
    started = time.process_time()
    memory.delete(keys=chosen, purge=purge)
    return {"cpu": time.process_time() - started}


def delete_tenth(folder: Path) -> dict[str, float]:
    ((documents,),) = opened(folder).sql("SELECT count(*) FROM documents").fetchall()
    return delete(folder, count=documents // 10)


def compact(folder: Path) -> dict[str, float]:
    memory = opened(folder)
    mnemodex.open(folder / "small", encoders=memory._objects and {"hashing": HashingEncoder()}).compact()
    started = time.process_time()
    memory.compact()
    return {"cpu": time.process_time() - started}


def collect(folder: Path) -> dict[str, float]:
    memory = opened(folder)
    mnemodex.open(folder / "small", encoders=memory._objects and {"hashing": HashingEncoder()}).gc(keep=1)
    started = time.process_time()
    memory.gc(keep=1)
    return {"cpu": time.process_time() - started}


def search(folder: Path) -> dict[str, float]:
    recipe = json.loads((folder / "recipe.json").read_text())
    memory = opened(folder)
    name = list(recipe["indexes"])[-1]
    retriever = memory.retriever(name)
    texts = [json.loads(line)["text"].split() for line in (folder / "corpus.jsonl").open(encoding="utf-8")][:1000:20]
    questions = [" ".join(words[:6]) for words in texts]
    ask = retriever.count if recipe["indexes"][name]["type"] == "ngram" else partial(retriever.search, k=10)
    seconds = [_timed(ask, question) for question in questions * 2][len(questions) :]
    return {"ms": 1000 * float(np.median(seconds))}


def _timed(ask: Callable[[list[str]], Any], question: str) -> float:
    started = time.perf_counter()
    ask([question])
    return time.perf_counter() - started


STEPS = {
    "build": build,
    "add": add,
    "add ten": lambda folder: add(folder, name="ten"),
    "delete": delete,
    "delete a tenth": delete_tenth,
    "search": search,
    "compact": compact,
    "gc": collect,
    "purge": partial(delete, count=1, purge=True),
}

if __name__ == "__main__":
    main()
