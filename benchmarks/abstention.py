"""Measure what the scores of a question's hits say of its having gold at all.

    python benchmarks/abstention.py MEMORY --queries FILE [--within FIELD] [--remove-gold] [--json FILE]

A row for each index and each confidence: the best score; the gap between it and the mean of the other scores among the
first ten; this gap in deviations of those. AUROC of questions with gold against those without, with its bootstrapped
95 % interval. The last columns are of a threshold: found with one half of the questions, by a hash of their ids, so
that half of these are answered, and the risk of it there and on the other half.

With `--within`, a question is asked among the documents that have its value of a field. With `--remove-gold`, 200
questions with gold are taken, and of every second one the gold is not searched.
"""

from __future__ import annotations

import argparse
import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qa_abstention import in_first_half
from report import publish

import mnemodex
from mnemodex.retrievers.abstention import select_known
from mnemodex.retrievers.queries import Query, read_queries, search_each
from mnemodex.retrievers.risk_coverage import area, auroc, auroc_interval, risk_coverage, row_with, threshold_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mnemodex.retrievers.base import Retriever

_K = 10
_REMOVED = 200


def best(scores: NDArray[np.float64]) -> float:
    """The best score."""
    return float(scores[0])


def gap(scores: NDArray[np.float64]) -> float:
    """How far the best score is above the mean of the others."""
    return float(scores[0] - scores[1:].mean()) if len(scores) > 1 else 0.0


def standardised(scores: NDArray[np.float64]) -> float:
    """The gap in deviations of the others."""
    return gap(scores) / max(float(scores[1:].std()), 1e-9) if len(scores) > 1 else 0.0


CONFIDENCES: tuple[Callable[[NDArray[np.float64]], float], ...] = (best, gap, standardised)


def read(options: argparse.Namespace) -> list[Query]:
    """The questions of which it is known whether they have gold."""
    queries = read_queries(options.queries)
    if options.within is not None:
        lines = gzip.decompress(options.queries.read_bytes()).decode().splitlines()
        fields = [json.loads(line)[options.within] for line in lines]
        queries = [
            replace(query, where=f"d.{options.within} = '{field}'")
            for query, field in zip(queries, fields, strict=True)
        ]
    return _without_gold([query for query in queries if query.gold]) if options.remove_gold else select_known(queries)


def _without_gold(queries: Sequence[Query]) -> list[Query]:
    """Some questions, the gold of every second of which is not searched."""
    chosen = [queries[n] for n in np.random.default_rng(0).permutation(len(queries))[:_REMOVED]]
    for n in range(0, len(chosen), 2):
        keys = ", ".join("'" + key.replace("'", "''") + "'" for key in chosen[n].gold)
        chosen[n] = replace(chosen[n], gold={}, where=f"d.key NOT IN ({keys})", unanswerable=True)
    return chosen


def measure(retriever: Retriever, queries: Sequence[Query]) -> list[dict[str, Any]]:
    """One row a confidence."""

    def search(asked: list[str], where: str | None) -> list[tuple[NDArray[np.float64], list[tuple[str, float]]]]:
        hits = retriever.search(asked, _K, where=where)
        scores = [row[np.isfinite(row)].astype(np.float64) for row in hits.scores]
        return list(zip(scores, hits.documents(), strict=True))

    answers = search_each(queries, search)
    has_gold = [bool(query.gold) for query in queries]
    right = np.array(
        [any(key in query.gold for key, _ in found) for query, (_, found) in zip(queries, answers, strict=True)]
    )
    first = np.array([in_first_half(query.id) for query in queries])
    rows = []
    for of in CONFIDENCES:
        confidence = np.array([of(scores) if len(scores) else -np.inf for scores, _ in answers])
        curve = _curve(confidence, right)
        low, high = auroc_interval(confidence.tolist(), has_gold) or (None, None)
        rows.append(
            {
                "index": retriever.name,
                "confidence": of.__name__,
                "with gold": sum(has_gold),
                "without": len(has_gold) - sum(has_gold),
                "AUROC": auroc(confidence.tolist(), has_gold),
                "from": low,
                "to": high,
                "area": area(curve),
                "risk, all answered": float(curve.risk[-1]) if len(curve.risk) else None,
                **_kept(confidence, right, first),
            }
        )
    return rows


def _curve(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> Any:
    found = np.isfinite(confidence)
    return risk_coverage(confidence[found].tolist(), right[found].tolist(), len(confidence))


def _kept(confidence: NDArray[np.float64], right: NDArray[np.bool_], first: NDArray[np.bool_]) -> dict[str, float]:
    """Coverage and risk of a threshold on the half that it was found with, and on the other one."""
    curve = _curve(confidence[first], right[first])
    row = row_with(curve, coverage=0.5, risk=None)
    if row is None:
        return {}
    answered = ~first & (confidence >= threshold_of(curve, row))
    return {
        "risk there": float(curve.risk[row]),
        "coverage of the others": float(answered.sum() / (~first).sum()),
        "risk of the others": float(1 - right[answered].mean()) if answered.any() else 0.0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("memory", type=Path)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--within", help="a field of documents and questions")
    parser.add_argument("--remove-gold", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    memory, queries = mnemodex.open(options.memory), read(options)
    rows = [row for index in memory.indexes for row in measure(memory.retriever(index), queries)]
    publish(f"Abstention over documents: {options.memory.name}", rows, json_path=options.json)


if __name__ == "__main__":
    main()
