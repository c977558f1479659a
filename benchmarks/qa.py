"""Measure question-answer indexes: the answers that the pairs of a file give to questions whose answers are known.

    python benchmarks/qa.py --pairs FILE --queries FILE [--corpus FILE] [--json FILE]

Every key (the question, or the question and its answers) with exact search, every precision with the question as key,
and every choice of the answer. EM is of one predicted answer, with half the width of its 95 % interval; EM@50% that of
the half of the questions that the index is surest of; gain the difference of EM to the first answer of the nearest
pair, with its 95 % interval (paired bootstrap); hits@k of any answer of the first k pairs.

Nothing is fitted to the queries. Half of them, by a hash of the id, were not looked at before all choices were made:
"held" is of these alone.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from report import pair_parser, publish_pairs

import mnemodex
from mnemodex.retrievers.qa.evaluation import evaluate_answers
from mnemodex.retrievers.queries import read_queries

if TYPE_CHECKING:
    import argparse

NEAREST = "Flat, nearest pair"
INDEXES = {
    NEAREST: {"type": "qa", "factory": "Flat", "answer": "nearest"},
    "Flat": {"type": "qa", "factory": "Flat"},
    "Flat, nearest of reranked": {
        "type": "qa",
        "factory": "Flat",
        "answer": "nearest",
        "rerank": {"by": "similarity"},
    },
    "SQ8": {"type": "qa", "factory": "SQ8"},
    "HNSW32_SQ8": {"type": "qa", "factory": "HNSW32_SQ8", "target_recall": 0.98},
    "Flat, with answers": {"type": "qa", "factory": "Flat", "key": "question_answer"},
}


def measure(given: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """One row an index."""
    recipe: dict[str, Any] = {
        "memory": str(folder / "memory"),
        "qa_pairs": {"from": str(given.pairs.absolute())},
        "indexes": {f"i{number}": settings for number, settings in enumerate(INDEXES.values())},
    }
    if given.corpus is not None:
        recipe["source"] = {"path": str(given.corpus.absolute())}
    result = mnemodex.build(recipe)
    for warning in result.warnings:
        print(f"warning: {warning}")
    opened = mnemodex.open(recipe["memory"])
    ((questions, pairs),) = opened.sql("SELECT count(*), sum(pairs) FROM questions").fetchall()
    print(f"{pairs} pairs, {questions} different questions")
    rows: list[dict[str, Any]] = []
    nearest: dict[str, Any] = {}
    for number, name in enumerate(INDEXES):
        retriever: Any = opened.retriever(f"i{number}")
        found = evaluate_answers(retriever, read_queries(given.queries))
        nearest = nearest or found.per_query
        held = {key: row for key, row in found.per_query.items() if is_held(key)}
        right = found.metrics["EM"]
        entry = opened.snapshot.index(f"i{number}")
        rows.append(
            {
                "index": name,
                "queries": found.queries,
                **found.metrics,
                "EM +-": 1.96 * (right * (1 - right) / found.queries) ** 0.5,
                **gain(found.per_query, nearest),
                "EM@50%": surest_half(found.per_query),
                "held": len(held),
                **{f"held {name}": value for name, value in gain(held, nearest).items()},
                "held EM": float(np.mean([row["EM"] for row in held.values()])),
                "held EM@50%": surest_half(held),
                "recall@10": entry.recall.recall if entry.recall else None,
                "bytes": entry.bytes,
                "s/1,000 questions": 1000 / found.queries_per_second,
            }
        )
    return rows


def is_held(query_id: str) -> bool:
    """Whether a query was not looked at before the choice of the answer was fixed."""
    return hashlib.md5(f"x{query_id}".encode(), usedforsecurity=False).digest()[0] % 2 == 1


def surest_half(rows: dict[str, dict[str, Any]]) -> float:
    """Return the EM of the half of the queries whose answers have the highest confidence."""
    answered = [row for row in rows.values() if row["answer"] is not None]
    best = sorted(answered, key=lambda row: -row["confidence"])[: len(rows) // 2]
    return float(np.mean([row["EM"] for row in best]))


def gain(rows: dict[str, dict[str, Any]], nearest: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Return by how much EM is above that of the nearest pair, and the ends of the interval."""
    differences = np.array([row["EM"] - nearest[key]["EM"] for key, row in rows.items()])
    drawn = np.random.default_rng(0).integers(0, len(differences), (5000, len(differences)))
    low, high = np.percentile(differences[drawn].mean(axis=1), [2.5, 97.5])
    return {"gain": float(differences.mean()), "gain from": float(low), "gain to": float(high)}


def main() -> None:
    parser = pair_parser(__doc__)
    parser.add_argument("--corpus", type=Path, help="the documents that the pairs are of")
    publish_pairs("Question-answer pairs of", parser.parse_args(), measure)


if __name__ == "__main__":
    main()
