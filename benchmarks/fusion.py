"""Fusion by ranks and by scores, and what neighbours of hits add, on data sets of `corpus.jsonl[.gz]` and `queries`.

python benchmarks/fusion.py FOLDER... [--work FOLDER] [--json FILE]

Queries with a `conversation` are searched within it; then there are figures of every second conversation, and of the
others, on which settings were chosen. Fitted weights are fitted on one half of the questions and measured on the other.
"""

from __future__ import annotations

import argparse
import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from report import publish

import mnemodex
from mnemodex.retrievers.evaluation import evaluate
from mnemodex.retrievers.fitting import fit_weights
from mnemodex.retrievers.hybrid import HybridRetriever
from mnemodex.retrievers.queries import read_queries

if TYPE_CHECKING:
    from mnemodex.retrievers.evaluation import Evaluation
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.queries import Query

_PARTS = ["dense", "words"]
_SCORES = {"type": "hybrid", "of": _PARTS, "fuse": "scores"}
_INDEXES = {
    "dense": {"type": "dense", "factory": "Flat"},
    "words": {"type": "bm25"},
    "ranks": {"type": "hybrid", "of": _PARTS},
    "scores": _SCORES,
    "auto": {**_SCORES, "weights": "auto"},
}
_SESSIONS = {"within": ["conversation", "session"], "order": "turn"}
_NEIGHBOURS = {
    "near": {"type": "contiguity", "of": "auto", **_SESSIONS},
    "turn before": {"type": "contiguity", "of": "auto", "before": 1, "after": 0, **_SESSIONS},
}
_MEASURES = ("R@5", "R@10", "all@10", "nDCG@10")
_RESAMPLES = 4000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--work", type=Path, default=Path("memories/fusion"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [row for folder in options.folders for row in measure(folder, options.work)]
    publish("Fusion, document chunks, MiniLM", rows, json_path=options.json)


def measure(folder: Path, work: Path) -> list[dict[str, Any]]:
    """Build the indexes of a data set, and evaluate each."""
    corpus, path = (next(folder.glob(f"{name}.jsonl*")) for name in ("corpus", "queries"))
    queries = read_queries(path)
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        conversations = [json.loads(line).get("conversation") for line in file if line.strip()]
    in_chats = conversations[0] is not None
    indexes = _INDEXES | ({name.replace(" ", "-"): given for name, given in _NEIGHBOURS.items()} if in_chats else {})
    memory = (work / folder.name).absolute()
    source = {"path": str(corpus.absolute()), "fields": {"key": "id", "title": "title", "text": "text"}}
    mnemodex.build({"memory": str(memory), "source": source, "indexes": indexes}, local=True)
    opened = mnemodex.open(memory)
    if not in_chats:
        return _rows(opened, folder.name, [query for query in queries if query.gold])
    chats = sorted({int(name) for name in conversations})
    rows = []
    for label, half in (("other half", chats[1::2]), ("half of the choices", chats[::2])):
        asked = [
            replace(query, where=f"metadata->>'conversation' = '{name}'")
            for query, name in zip(queries, conversations, strict=True)
            if query.gold and int(name) in half
        ]
        rows += _rows(opened, f"{folder.name}, {label}", asked)
    return rows


def _rows(memory: Memory, data: str, queries: list[Query]) -> list[dict[str, Any]]:
    found = {name: evaluate(memory.retriever(name), queries) for name in memory.indexes}
    rows = [_row(data, name, result) for name, result in found.items()]
    return [*rows, {"data": data, "index": "fitted, two halves", "nDCG@10": _fitted(memory, queries)}]


def _row(data: str, index: str, result: Evaluation) -> dict[str, Any]:
    recall = np.array([one["R@10"] for one in result.per_query.values()])
    means = np.random.default_rng(0).choice(recall, (_RESAMPLES, len(recall))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    kinds = {kind: measures["R@10"] for kind, measures in result.by_kind.items()}
    measures = {name: result.metrics[name] for name in _MEASURES}
    return {"data": data, "index": index, "queries": result.queries, **measures, "from": low, "to": high, **kinds}


def _fitted(memory: Memory, queries: list[Query]) -> float:
    """Return nDCG@10 with the weights that are fitted on the other half of the questions."""
    entry, gained = memory.snapshot.index("scores"), 0.0
    order = np.random.default_rng(0).permutation(len(queries)).tolist()
    halves = [[queries[number] for number in order[start::2]] for start in range(2)]
    for asked, others in (halves, halves[::-1]):
        weights = fit_weights(HybridRetriever(memory, entry), others).weights
        with_weights = entry.model_copy(update={"settings": {**entry.settings, "weights": weights}})
        gained += evaluate(HybridRetriever(memory, with_weights), asked).metrics["nDCG@10"] * len(asked)
    return gained / len(queries)


if __name__ == "__main__":
    main()
