"""Measure rounds: questions of several hops, answered by pairs of one hop each.

    python benchmarks/qa_rounds.py --pairs FILE --queries FILE [--corpus FILE] [--others FILE...] [--rounds N]

One row for each number of rounds. EM is of one predicted answer, with its 95 % interval (Wilson, 1927), and where
queries say their `hops`, by these; hits@k of any answer of the first k pairs. With a corpus, R@5 is of the passages
found by the questions of their pairs. Others are pairs that are put among those of the first file.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from report import pair_parser, publish_pairs
from scipy.stats import binomtest

import mnemodex
from mnemodex.retrievers.evaluation import evaluate
from mnemodex.retrievers.qa.evaluation import evaluate_answers
from mnemodex.retrievers.queries import read_queries

if TYPE_CHECKING:
    import argparse


def measure(given: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """One row a number of rounds."""
    files = [given.pairs, *given.others]
    pairs = [json.loads(line) for number, file in enumerate(files) for line in _lines(file) if line.strip()]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    recipe: dict[str, Any] = {
        "memory": str(folder / "memory"),
        "qa_pairs": {"from": str(folder / "pairs.jsonl"), "max_errors": "100%"},
        "indexes": {
            f"by{n}": {"type": "qa", "factory": "Flat", "answer": "nearest", "rounds": n}
            for n in range(1, given.rounds + 1)
        },
    }
    if given.corpus is not None:
        recipe["source"] = {"path": str(given.corpus.absolute())}
    mnemodex.build(recipe)
    memory = mnemodex.open(recipe["memory"])
    ((questions,),) = memory.sql("SELECT count(*) FROM questions").fetchall()
    print(f"{questions} different questions")
    queries = read_queries(given.queries)
    hops = {row["id"]: row.get("hops") for row in map(json.loads, _lines(given.queries))}
    rows = []
    for name in memory.indexes:
        retriever: Any = memory.retriever(name)
        found = evaluate_answers(retriever, queries)
        rights = {query: row["EM"] for query, row in found.per_query.items()}
        interval = binomtest(round(sum(rights.values())), len(rights)).proportion_ci(0.95, method="wilson")
        row = {
            "rounds": int(name.removeprefix("by")),
            "EM": found.metrics["EM"],
            "from": interval.low,
            "to": interval.high,
        }
        for hop in sorted({hop for hop in hops.values() if hop is not None}):
            row[f"EM of {hop} hops"] = float(np.mean([right for query, right in rights.items() if hops[query] == hop]))
        row |= {measure: value for measure, value in found.metrics.items() if measure == "F1" or "hits" in measure}
        if given.corpus is not None:
            row["R@5"] = evaluate(retriever.by_chunk(), queries).metrics["R@5"]
        rows.append(row | {"s/1,000 questions": 1000 / found.queries_per_second})
    return rows


def _lines(file: Path) -> list[str]:
    data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return data.decode().splitlines()


def main() -> None:
    parser = pair_parser(__doc__)
    parser.add_argument("--corpus", type=Path, help="the documents that the pairs are of")
    parser.add_argument("--others", type=Path, nargs="*", default=[], help="more pairs")
    parser.add_argument("--rounds", type=int, default=4, help="the most rounds")
    publish_pairs("Rounds over the pairs of", parser.parse_args(), measure)


if __name__ == "__main__":
    main()
