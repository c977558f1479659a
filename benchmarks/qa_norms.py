"""Measure recall of inner products by codes and graphs over vectors of unequal lengths.

    python benchmarks/qa_norms.py --data FOLDER [--vectors FILE] [--json FILE]

The vectors of the 20,000 texts of `qa_texts.py`, each multiplied by 1 and a normal deviate of some spread. Our indexes
are built and searched as any recipe's (`normalize: false`). Of FAISS alone: PAQ's SQ8 and HNSW over SQ8, by L2 and
asked as if they were by inner product; and the graph by L2 of vectors that one more number makes equally long, as DPR's
index has it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qa_answers import K, Stored, question, recall
from qa_texts import Float32s, real_vectors
from report import publish

import mnemodex
from mnemodex.indexers.dense.vectors import exact_search

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPREADS = (0.0, 0.05, 0.1, 0.2)
FACTORIES = ("Flat", "SQ8", "HNSW32_SQ8")
TARGET = 0.98
EF = 128


def ours(folder: Path, vectors: Float32s, asked: Float32s, nearest: NDArray[np.int64]) -> dict[str, float]:
    """Recall of every factory, built and searched through a recipe."""
    np.save(folder / "vectors.npy", np.concatenate([vectors, asked]))
    rows = len(vectors)
    with (folder / "pairs.jsonl").open("w") as file:
        for number in range(rows):
            file.write(json.dumps({"question": question(number), "answer": str(number)}) + "\n")
    settings = {"type": "qa", "target_recall": TARGET}
    recipe = {
        "memory": str(folder / "memory"),
        "qa_pairs": {"from": str(folder / "pairs.jsonl")},
        "embed": {"stored": {"normalize": False}},
        "indexes": {factory.lower(): {**settings, "factory": factory} for factory in FACTORIES},
    }
    encoders = {"stored": Stored(folder / "vectors.npy")}
    mnemodex.build(recipe, encoders=encoders, local=True)
    opened = mnemodex.open(folder / "memory", encoders=encoders)
    questions = [question(number) for number in range(rows, rows + len(asked))]
    found = {}
    for factory in FACTORIES:
        answers = opened.retriever(factory.lower()).search(questions, K).answers()
        numbers = np.array([[int(pair[0]) for pair in row] for row in answers])
        value = opened.snapshot.index(factory.lower()).search.value
        found[f"{factory}{f', efSearch {value}' if value else ''}"] = recall(numbers, nearest)
    return found


def plain(vectors: Float32s, asked: Float32s, nearest: NDArray[np.int64]) -> dict[str, float]:
    """Recall of PAQ's and DPR's indexes."""
    import faiss

    squares = (vectors**2).sum(axis=1)
    last = np.sqrt(np.maximum(squares.max() - squares, 0))[:, None]
    longer, longer_asked = np.hstack([vectors, last]), np.hstack([asked, np.zeros((len(asked), 1), np.float32)])
    found = {}
    for name, index, rows, queries in (
        ("PAQ: SQ8 by L2", faiss.index_factory(384, "SQ8"), vectors, asked),
        ("PAQ: HNSW32_SQ8 by L2", faiss.index_factory(384, "HNSW32_SQ8"), vectors, asked),
        ("HNSW32_SQ8 by L2, one more number", faiss.index_factory(385, "HNSW32_SQ8"), longer, longer_asked),
    ):
        if hasattr(index, "hnsw"):
            index.hnsw.efConstruction = index.hnsw.efSearch = EF
        index.train(rows)
        index.add(rows)
        found[f"{name}{f', efSearch {EF}' if hasattr(index, 'hnsw') else ''}"] = recall(
            index.search(queries, K)[1], nearest
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of data sets")
    parser.add_argument("--vectors", type=Path, help="keep the vectors of real texts in this file")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        texts, asked = real_vectors(options.data, options.vectors or Path(name) / "real.npz")
        for spread in SPREADS:
            folder = Path(name) / f"{spread}"
            folder.mkdir()
            lengths = np.random.default_rng(0).normal(1, spread, (len(texts), 1)).astype(np.float32)
            nearest = exact_search(asked, [texts * lengths], K, metric="ip")[1]
            vectors = texts * lengths
            for index, value in {**ours(folder, vectors, asked, nearest), **plain(vectors, asked, nearest)}.items():
                rows.setdefault(index, {"index": index})[f"spread {spread:.0%}"] = value
    publish("Recall@10 of inner products", list(rows.values()), json_path=options.json)


if __name__ == "__main__":
    main()
