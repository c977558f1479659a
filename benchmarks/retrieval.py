"""Retrieval quality of the default indexes on data sets of `corpus.jsonl[.gz]` and `queries.jsonl`.

python benchmarks/retrieval.py FOLDER... [--work FOLDER] [--json FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from report import publish

import mnemodex
from mnemodex.retrievers.evaluation import evaluate
from mnemodex.retrievers.queries import read_queries


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--work", type=Path, default=Path("memories/benchmarks"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [row for folder in options.folders for row in measure(folder, options.work)]
    publish("Retrieval, document chunks, MiniLM", rows, json_path=options.json)


def measure(folder: Path, work: Path) -> list[dict[str, Any]]:
    """Build the default memory of a data set, and evaluate each of its indexes."""
    corpus = next(folder.glob("corpus.jsonl*"))
    queries = read_queries(next(folder.glob("queries.jsonl*")))
    memory = work / folder.name
    mnemodex.build({"memory": str(memory.absolute()), "source": str(corpus.absolute())})
    opened = mnemodex.open(memory)
    rows = []
    for name in opened.indexes:
        result = evaluate(opened.retriever(name), queries)
        rows.append({"data": folder.name, "index": name, "queries": result.queries, **result.metrics})
    return rows


if __name__ == "__main__":
    main()
