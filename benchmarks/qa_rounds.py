"""Measure rounds: questions of several hops, answered by pairs of one hop each.

    python benchmarks/qa_rounds.py --pairs FILE --queries FILE [--corpus FILE] [--others FILE...] [--rounds N]

Two rows for each number of rounds: the answer by the nearest pair, and by votes. EM is of one predicted answer, with
its 95 % interval (Wilson, 1927), and where queries say their `hops`, by these; AUROC of its confidence; hits@k of any
answer of the first k pairs; "texts" are those that are encoded for a question. With a corpus, R@5 is of the passages
found by the questions of their pairs, whichever way an answer is chosen. Others are pairs that are put among those of
the first file. A text that is asked for again is not encoded again, so that nothing here is timed.
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
    from collections.abc import Callable

    from mnemodex.indexers.arrays import Float32s


class Remembered:
    """Vectors of texts, each made once, and how many were asked for."""

    def __init__(self, encode: Callable[[list[str]], Float32s]) -> None:
        self._encode = encode
        self._vectors: dict[str, Float32s] = {}
        self.asked = 0

    def __call__(self, texts: list[str]) -> Float32s:
        """Return the vectors of texts, float32 of shape (texts, dimension)."""
        self.asked += len(texts)
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        self._vectors |= zip(new, self._encode(new), strict=True)
        return np.stack([self._vectors[text] for text in texts])


def measure(given: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Two rows a number of rounds."""
    files = [given.pairs, *given.others]
    pairs = [json.loads(line) for number, file in enumerate(files) for line in _lines(file) if line.strip()]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    recipe: dict[str, Any] = {
        "memory": str(folder / "memory"),
        "qa_pairs": {"from": str(folder / "pairs.jsonl"), "max_errors": "100%"},
        "indexes": {
            f"{answer}-{n}": {"type": "qa", "factory": "Flat", "answer": answer, "rounds": n}
            for n in range(1, given.rounds + 1)
            for answer in ("nearest", "votes")
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
    encoder: Any = memory.encoder("minilm")
    encoder.encode_queries = remembered = Remembered(encoder.encode_queries)
    for name in memory.indexes:
        retriever: Any = memory.retriever(name)
        remembered.asked = 0
        found = evaluate_answers(retriever, queries)
        texts = remembered.asked / found.queries
        rights = {query: row["EM"] for query, row in found.per_query.items()}
        interval = binomtest(round(sum(rights.values())), len(rights)).proportion_ci(0.95, method="wilson")
        answer, _, rounds = name.partition("-")
        row = {
            "rounds": int(rounds),
            "answer": answer,
            "EM": found.metrics["EM"],
            "from": interval.low,
            "to": interval.high,
            "AUROC": found.abstention["AUROC"],
        }
        for hop in sorted({hop for hop in hops.values() if hop is not None}):
            row[f"EM of {hop} hops"] = float(np.mean([right for query, right in rights.items() if hops[query] == hop]))
        row |= {measure: value for measure, value in found.metrics.items() if measure == "F1" or "hits" in measure}
        if given.corpus is not None and answer == "nearest":
            row["R@5"] = evaluate(retriever.by_chunk(), queries).metrics["R@5"]
        rows.append(row | {"texts": texts})
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
