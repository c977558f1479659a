"""Measure rounds: questions of several hops, answered by pairs of one hop each.

    python benchmarks/qa_rounds.py --pairs FILE --queries FILE [--corpus FILE] [--others FILE...] [--rounds N]

One row for each number of rounds. EM is of one predicted answer, with its 95 % interval (Wilson, 1927), and where
queries say their `hops`, by these; hits@k of any answer of the first k pairs. With a corpus, R@5 is of the passages
found by the questions of their pairs. Others are pairs that are put among those of the first file.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from report import publish

import mnemodex
from mnemodex.retrievers.evaluation import evaluate
from mnemodex.retrievers.qa.evaluation import evaluate_answers
from mnemodex.retrievers.queries import read_queries


def measure(given: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """One row a number of rounds."""
    files = [given.pairs, *given.others]
    pairs = [json.loads(line) for number, file in enumerate(files) for line in _lines(file) if line.strip()]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    recipe: dict[str, Any] = {
        "memory": str(folder / "memory"),
        "qa_pairs": {"from": str(folder / "pairs.jsonl"), "max_errors": "100%"},
        "indexes": {f"by{n}": {"type": "qa", "factory": "Flat", "rounds": n} for n in range(1, given.rounds + 1)},
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
        low, high = _interval(sum(rights.values()), len(rights))
        row = {"rounds": int(name.removeprefix("by")), "EM": found.metrics["EM"], "from": low, "to": high}
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


def _interval(right: float, of: int) -> tuple[float, float]:
    z = 1.96
    middle = (right + z * z / 2) / (of + z * z)
    half = z / (of + z * z) * (right * (of - right) / of + z * z / 4) ** 0.5
    return middle - half, middle + half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pairs", type=Path, required=True, help="pairs of one hop each")
    parser.add_argument("--queries", type=Path, required=True, help="questions with answers")
    parser.add_argument("--corpus", type=Path, help="the documents that the pairs are of")
    parser.add_argument("--others", type=Path, nargs="*", default=[], help="more pairs")
    parser.add_argument("--rounds", type=int, default=4, help="the most rounds")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(given, Path(scratch))
    publish(f"Rounds over the pairs of {given.pairs}", rows, json_path=given.json)


if __name__ == "__main__":
    main()
