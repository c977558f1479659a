"""Measure a million question-answer pairs: what each step of a build costs, and how fast the indexes answer.

    python benchmarks/qa_scale.py --data FOLDER [--rows N N N] [--json FILE]

Questions are texts with the vectors of `qa_texts.py`; one pair in 20 repeats a question, and every ten pairs have a
document, which holds nine of their answers. Each size is built in a process of its own without Ray, in which units run
one after the other. Of the questions that `qa_texts.py` asks, one in four tunes the indexes (`queries`). The others are
searched for in the last size, in one batch by two threads; PAQ's setting too (FAISS's HNSW over SQ8: M 32,
efConstruction and efSearch 128).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qa_answers import (
    INDEXES,
    TUNING,
    Stored,
    build_paq,
    encode,
    question,
    search,
    search_paq,
)
from qa_texts import Float32s, copies, real_vectors
from report import publish
from scale import costs_of, table

if TYPE_CHECKING:
    from collections.abc import Sequence


def write_data(folder: Path, rows: int, texts: Float32s, asked: Float32s) -> None:
    """Write vectors, those that are asked last; documents; pairs; and the questions that tune the indexes."""
    order = np.random.default_rng(1).permutation(rows)
    vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (rows + len(asked), 384))
    start = 0
    for block in copies(texts, rows):
        vectors[order[start : start + len(block)]] = block
        start += len(block)
    vectors[rows:] = asked
    vectors.flush()
    with (folder / "tuning.jsonl").open("w") as tuning:
        for number in range(rows, rows + len(asked), TUNING):
            tuning.write(json.dumps({"id": f"q{number}", "question": question(number)}) + "\n")
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
    """What a build of some indexes costs."""
    recipe = {
        "memory": str(folder / "memory"),
        "source": str(folder / "corpus.jsonl"),
        "qa_pairs": {"from": str(folder / "pairs.jsonl")},
        "embed": {"stored": {}},
        "indexes": {name: {**INDEXES[name], "queries": str(folder / "tuning.jsonl")} for name in indexes},
    }
    return costs_of(recipe, {"stored": Stored(folder / "vectors.npy")})


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
    if name == "encode":
        return encode(folder)
    return (build_paq if name == "build-paq" else search_paq)(folder, int(rest[0]))


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
            searches.append(part("encode", options.data))
            publish("A batch of questions", searches, json_path=None)


if __name__ == "__main__":
    main()
