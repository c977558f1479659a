"""Measure question-answer indexes: the answers that the pairs of a file give to questions whose answers are known.

    python benchmarks/qa.py --pairs FILE --queries FILE [--corpus FILE] [--json FILE]

Every key (the question, or the question and its answers) with exact search, and every precision with the question as
key. EM is of one predicted answer, with half the width of its 95 % interval; hits@k of any answer of the first k pairs.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from report import publish

import mnemodex
from mnemodex.retrievers.qa.evaluation import evaluate_answers
from mnemodex.retrievers.queries import read_queries

INDEXES = {
    "Flat": {"type": "qa", "factory": "Flat"},
    "SQ8": {"type": "qa", "factory": "SQ8"},
    "HNSW32_SQ8": {"type": "qa", "factory": "HNSW32_SQ8", "target_recall": 0.98},
    "Flat, with answers": {"type": "qa", "factory": "Flat", "key": "question_answer"},
}


def measure(given: argparse.Namespace, memory: Path) -> list[dict[str, Any]]:
    """One row an index."""
    recipe: dict[str, Any] = {
        "memory": str(memory),
        "qa_pairs": {"from": str(given.pairs.absolute())},
        "indexes": {f"i{number}": settings for number, settings in enumerate(INDEXES.values())},
    }
    if given.corpus is not None:
        recipe["source"] = {"path": str(given.corpus.absolute())}
    result = mnemodex.build(recipe)
    for warning in result.warnings:
        print(f"warning: {warning}")
    opened = mnemodex.open(memory)
    ((questions, pairs),) = opened.sql("SELECT count(*), sum(pairs) FROM questions").fetchall()
    print(f"{pairs} pairs, {questions} different questions")
    rows = []
    for number, name in enumerate(INDEXES):
        retriever: Any = opened.retriever(f"i{number}")
        found = evaluate_answers(retriever, read_queries(given.queries))
        right = found.metrics["EM"]
        entry = opened.snapshot.index(f"i{number}")
        rows.append(
            {
                "index": name,
                "queries": found.queries,
                **found.metrics,
                "EM +-": 1.96 * (right * (1 - right) / found.queries) ** 0.5,
                "recall@10": entry.recall.recall if entry.recall else None,
                "bytes": entry.bytes,
                "s/1,000 questions": 1000 / found.queries_per_second,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pairs", type=Path, required=True, help="question-answer pairs")
    parser.add_argument("--queries", type=Path, required=True, help="questions with answers")
    parser.add_argument("--corpus", type=Path, help="the documents that the pairs are of")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(given, Path(scratch) / "memory")
    publish(f"Question-answer pairs of {given.pairs}", rows, json_path=given.json)


if __name__ == "__main__":
    main()
