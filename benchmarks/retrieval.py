"""Retrieval quality of the default indexes on data sets of `corpus.jsonl[.gz]` and `queries.jsonl`.

python benchmarks/retrieval.py FOLDER... [--words] [--work FOLDER] [--json FILE]

With `--words`, BM25 alone is built and measured.
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
    parser.add_argument("--words", action="store_true")
    options = parser.parse_args()
    indexes = {"indexes": {"words": {"type": "bm25"}}} if options.words else {}
    rows = [row for folder in options.folders for row in measure(folder, options.work, indexes)]
    publish("Retrieval, document chunks, MiniLM", rows, json_path=options.json)


def measure(folder: Path, work: Path, indexes: dict[str, Any]) -> list[dict[str, Any]]:
    """Build the default memory of a data set, or these indexes, and evaluate each."""
    corpus = next(folder.glob("corpus.jsonl*"))
    queries = read_queries(next(folder.glob("queries.jsonl*")))
    memory = work / folder.name
    mnemodex.build({"memory": str(memory.absolute()), "source": str(corpus.absolute()), **indexes})
    opened = mnemodex.open(memory)
    rows = []
    for name in opened.indexes:
        result = evaluate(opened.retriever(name), queries)
        rows.append({"data": folder.name, "index": name, "queries": result.queries, **result.metrics})
    return rows


if __name__ == "__main__":
    main()
