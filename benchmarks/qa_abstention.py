"""Measure abstention of question-answer indexes: what a threshold promises, and what it keeps on other questions.

    python benchmarks/qa_abstention.py --pairs FILE --queries FILE [--json FILE]

The questions are split in two by a hash of their ids: a build finds the threshold of each aim with the first half;
coverage and risk, with its 95 % interval, are of the second.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from report import pair_parser, publish_pairs
from scipy.stats import binomtest

import mnemodex
from mnemodex.retrievers.qa.evaluation import evaluate_answers
from mnemodex.retrievers.queries import Query, read_queries

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

AIMS: dict[str, dict[str, float]] = {
    "coverage 0.5": {"coverage": 0.5},
    "coverage 0.25": {"coverage": 0.25},
    "risk 0.4": {"risk": 0.4},
    "risk 0.3": {"risk": 0.3},
}


def in_first_half(name: str) -> bool:
    """Whether a question, by its id, is one that thresholds are fitted with."""
    # Not the hash alone: data sets are cut by it.
    return hashlib.sha256(f"half {name}".encode()).digest()[-1] % 2 == 0


def measure(given: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """One row an aim."""
    lines = given.queries.read_text("utf-8").splitlines(keepends=True)
    queries = read_queries(given.queries)
    first = [line for line, query in zip(lines, queries, strict=True) if in_first_half(query.id)]
    (folder / "first.jsonl").write_text("".join(first), "utf-8")
    fitted = str(folder / "first.jsonl")
    indexes = {f"i{n}": {"type": "qa", "abstain": {"queries": fitted, **aim}} for n, aim in enumerate(AIMS.values())}
    pairs = {"from": str(given.pairs.absolute())}
    mnemodex.build({"memory": str(folder / "memory"), "qa_pairs": pairs, "indexes": indexes}, local=True)
    return measure_other_half(
        mnemodex.open(folder / "memory"), [query for query in queries if not in_first_half(query.id)]
    )


def measure_other_half(memory: Any, queries: list[Query]) -> list[dict[str, Any]]:
    """Coverage and risk of every index, on questions that nothing was fitted with."""
    rows = []
    for number, aim in enumerate(AIMS):
        known = memory.snapshot.index(f"i{number}").abstention
        found = evaluate_answers(memory.retriever(f"i{number}"), queries, k=1)
        answered = round(found.metrics["coverage"] * found.queries)
        wrong = round((1 - found.metrics["EM@coverage"]) * answered)
        interval = binomtest(wrong, answered).proportion_ci(0.95)
        rows.append(
            {
                "aim": aim,
                "fitted with": known.queries,
                "coverage there": known.coverage,
                "risk there": known.risk,
                "others": found.queries,
                "coverage": found.metrics["coverage"],
                "risk": wrong / answered,
                "risk from": interval.low,
                "risk to": interval.high,
                "AUROC": found.abstention["AUROC"],
            }
        )
    return rows


def main() -> None:
    publish_pairs("Abstention with the question-answer pairs of", pair_parser(__doc__).parse_args(), measure)


if __name__ == "__main__":
    main()
