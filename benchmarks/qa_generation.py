"""Measure pairs that rules generate from a corpus: what filters keep of them, and whether they help to find passages.

    python benchmarks/qa_generation.py --corpus FILE --queries FILE [--max-pairs N] [--k N] [--json FILE]

A row for the pairs of each filter: pairs a passage, the share of candidates within `max_pairs` that is kept, and
hits@5, the part of the questions whose source passage is among the first five, by the questions of pairs, by BM25, by
vectors of passages, and by hybrids of these.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from report import publish

import mnemodex
from mnemodex.pipelines.qa.candidates import BEYOND
from mnemodex.retrievers.queries import Query, read_queries

FILTERS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "local": {"by": "local"},
    "global": {"by": "global", "index": "i1"},
}
INDEXES = {
    "qa": {"type": "qa", "factory": "Flat"},
    "words": {"type": "bm25"},
    "dense": {"type": "dense", "factory": "Flat"},
    "words+dense": {"type": "hybrid", "of": ["words", "dense"]},
    "words+qa": {"type": "hybrid", "of": ["words", "qa"]},
    "dense+qa": {"type": "hybrid", "of": ["dense", "qa"]},
    "words+dense+qa": {"type": "hybrid", "of": ["words", "dense", "qa"]},
}
_CUTOFF = 5


def measure(given: argparse.Namespace, memory: Path, name: str) -> dict[str, Any]:
    """Build the memory with the pairs of one filter, and search it."""
    settings = FILTERS[name]
    pairs: dict[str, Any] = {"generator": "rules", "max_pairs": given.max_pairs}
    if settings is not None:
        pairs["filter"] = settings | ({"k": given.k} if name == "global" else {})
    started = time.perf_counter()
    result = mnemodex.build(
        {
            "memory": str(memory),
            "source": {"path": str(given.corpus.absolute())},
            "qa_pairs": pairs,
            "indexes": {f"i{number}": _renamed(index) for number, index in enumerate(INDEXES.values())},
        }
    )
    seconds = time.perf_counter() - started
    for warning in result.warnings:
        print(f"warning: {warning}")
    opened = mnemodex.open(memory)
    ((candidates, kept),) = opened.sql(
        f"SELECT count(*) FILTER (reason IS DISTINCT FROM '{BEYOND}'), count(*) FILTER (kept) FROM qa_candidates"  # noqa: S608 - ours
    ).fetchall()
    ((passages,),) = opened.sql("SELECT count(*) FROM chunks").fetchall()
    queries = [query for query in read_queries(given.queries) if query.gold]
    row: dict[str, Any] = {
        "filter": name,
        "passages": passages,
        "candidates": candidates,
        "kept": kept / candidates,
        "pairs a passage": kept / passages,
        "build seconds": seconds,
        "queries": len(queries),
    }
    for number, index in enumerate(INDEXES):
        row[f"{index} hits@{_CUTOFF}"] = hits(opened.retriever(f"i{number}"), queries, is_pairs=index == "qa")
    return row


def _renamed(index: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of an index; names of indexes in a recipe have no plus."""
    names = list(INDEXES)
    return index | ({"of": [f"i{names.index(part)}" for part in index["of"]]} if "of" in index else {})


def hits(retriever: Any, queries: list[Query], *, is_pairs: bool) -> float:
    """Return the part of the queries that have a gold passage among the first hits."""
    options = {"kind": "chunk"} if is_pairs else {}
    found = retriever.search([query.question for query in queries], _CUTOFF, **options).chunks()
    right = [any(chunk.key in query.gold for chunk in row) for query, row in zip(queries, found, strict=True)]
    return sum(right) / len(right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--corpus", type=Path, required=True, help="passages")
    parser.add_argument("--queries", type=Path, required=True, help="questions with the passages that answer them")
    parser.add_argument("--max-pairs", type=int, default=8, help="pairs of a passage at most")
    parser.add_argument("--k", type=int, default=5, help="hits that the global filter reads")
    parser.add_argument("--filters", nargs="+", choices=FILTERS, default=list(FILTERS), help="all by default")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    rows = []
    for name in given.filters:
        with tempfile.TemporaryDirectory() as scratch:
            rows.append(measure(given, Path(scratch) / "memory", name))
    publish(f"Pairs by rules from {given.corpus}", rows, json_path=given.json)


if __name__ == "__main__":
    main()
