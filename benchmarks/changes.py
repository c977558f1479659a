"""What adding and deleting a few of a memory's documents costs, kind by kind, as a share of its whole build.

python benchmarks/changes.py [--rows N] [--kinds NAME …] [--json FILE]

Each memory has one index over N documents of 100 words (of eight, where every token is a row), a hashing encoder, and
for next tokens a tiny model with random weights; a graph has a triple of every eight words. It is built, given 1 % more
documents, then ten; and 1 % of those that it has, chosen at random, are deleted; in a process each and without Ray.
CPU seconds are those of all threads from the call to its end: what is imported by then was imported by a change before,
that is refused. Searches are the median of 50 questions one by one, each asked before, so that what it reads is in
memory: after the build, and after 10 % of the documents were deleted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
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
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step is not None:
        print(json.dumps(STEPS[options.step](options.folder)))
        return
    results = []
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as name:
            results.append(measure(Path(name), kind, options.rows))
        print(results[-1], flush=True)
    publish(f"Changes of 1 % of {options.rows} documents", results, json_path=options.json)


def measure(folder: Path, kind: str, rows: int) -> dict[str, Any]:
    """Build a memory of one kind, and change it."""
    prepare(folder, kind, rows)
    built, searched = run(folder, "build"), run(folder, "search")
    added, ten = run(folder, "add"), run(folder, "add ten")
    deleted, tenth = run(folder, "delete"), run(folder, "delete a tenth")
    after = run(folder, "search")
    return {
        "kind": kind,
        "build, CPU s": round(built["cpu"], 2),
        "add 1 %": f"{added['cpu']:.2f} s, {added['cpu'] / built['cpu']:.1%}",
        "add 10 documents": f"{ten['cpu']:.2f} s",
        "delete 1 %": f"{deleted['cpu']:.2f} s, {deleted['cpu'] / built['cpu']:.1%}",
        "delete 10 %": f"{tenth['cpu']:.2f} s, {tenth['cpu'] / built['cpu']:.1%}",
        "search, ms": round(searched["ms"], 2),
        "search after deletions": f"{after['ms']:.2f} ms, {after['ms'] / searched['ms']:.2f} x",
    }


def prepare(folder: Path, kind: str, rows: int) -> None:
    """Write the corpus, what is added later, and the recipe."""
    more = rows + rows // 100
    lines = passages(more + 10, words=8 if KINDS[kind]["type"] == "knn_lm" else 100)
    for name, part in (("corpus", lines[:rows]), ("more", lines[rows:more]), ("ten", lines[more:])):
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
    if KINDS[kind]["type"] in {"dense", "hybrid", "graph"}:
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


def delete(folder: Path, *, share: float = 0.01) -> dict[str, float]:
    memory = opened(folder)
    keys = [key for (key,) in memory.sql("SELECT key FROM documents").fetchall()]
    chosen = np.random.default_rng(int(share * 1000)).choice(keys, int(share * len(keys)), replace=False).tolist()
    with contextlib.suppress(QueryError):
        memory.delete(keys=["no such key"])
    small = mnemodex.open(folder / "small", encoders=memory._objects and {"hashing": HashingEncoder()})
    small.delete(keys=small.sql("SELECT key FROM documents LIMIT 1").fetchone())
    started = time.process_time()
    memory.delete(keys=chosen)
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
    "delete a tenth": lambda folder: delete(folder, share=0.1),
    "search": search,
}

if __name__ == "__main__":
    main()
