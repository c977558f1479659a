"""Fusion by ranks and by scores, and what neighbours of hits add, on data sets of `corpus.jsonl[.gz]` and `queries`.

python benchmarks/fusion.py FOLDER... [--work FOLDER] [--json FILE]

Queries with a `conversation` are searched within it; then there are also figures of every second conversation, and of
the others, on which settings were chosen. Fitted weights are fitted on one half of the questions and measured on the
other. Differences are paired, by question; intervals are bootstrapped over questions.
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
    from mnemodex.indexers.arrays import Float64s
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
"""What is built of each set; `ranks` is reciprocal rank fusion."""
_SESSIONS = {"within": ["conversation", "session"], "order": "turn"}
_NEIGHBOURS = {"near": {"type": "contiguity", "of": "auto"}}
_TURNS = {
    "near": {"type": "contiguity", "of": "auto", **_SESSIONS},
    "turn-before": {"type": "contiguity", "of": "auto", "before": 1, "after": 0, **_SESSIONS},
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


def open_data(folder: Path, work: Path) -> tuple[Memory, list[Query], list[str | None]]:
    """Build the indexes of a data set; return them, the queries with gold, and the conversation of each."""
    corpus, path = (next(folder.glob(f"{name}.jsonl*")) for name in ("corpus", "queries"))
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        conversations = [json.loads(line).get("conversation") for line in file if line.strip()]
    memory = (work / folder.name).absolute()
    source = {"path": str(corpus.absolute()), "fields": {"key": "id", "title": "title", "text": "text"}}
    indexes = _INDEXES | (_NEIGHBOURS if conversations[0] is None else _TURNS)
    mnemodex.build({"memory": str(memory), "source": source, "indexes": indexes}, local=True)
    asked = [
        (query if name is None else replace(query, where=f"metadata->>'conversation' = '{name}'"), name)
        for query, name in zip(read_queries(path), conversations, strict=True)
        if query.gold
    ]
    return mnemodex.open(memory), [query for query, _ in asked], [name for _, name in asked]


def halves(queries: list[Query], conversations: list[str | None]) -> dict[str, list[Query]]:
    """Return the questions of every second conversation, on which nothing was chosen, and those of the others."""
    chats = sorted({int(name) for name in conversations if name is not None})
    split = {"other half": chats[1::2], "half of the choices": chats[::2]}
    return {
        label: [query for query, name in zip(queries, conversations, strict=True) if name and int(name) in half]
        for label, half in split.items()
    }


def measure(folder: Path, work: Path) -> list[dict[str, Any]]:
    """Build the indexes of a data set, and evaluate each."""
    memory, queries, conversations = open_data(folder, work)
    parts = {} if conversations[0] is None else halves(queries, conversations)
    asked = {folder.name: queries, **{f"{folder.name}, {label}": half for label, half in parts.items()}}
    return [row for data, half in asked.items() for row in _rows(memory, data, half)]


def _rows(memory: Memory, data: str, queries: list[Query]) -> list[dict[str, Any]]:
    found = {name: evaluate(memory.retriever(name), queries) for name in memory.indexes}
    best = max((found[name] for name in _PARTS), key=lambda result: result.metrics["nDCG@10"])
    rows = [_row(data, name, result, best) for name, result in found.items()]
    return [*rows, {"data": data, "index": "fitted, two halves", "nDCG@10": _fitted(memory, queries)}]


def _row(data: str, index: str, result: Evaluation, best: Evaluation) -> dict[str, Any]:
    recall, ndcg, of_best = (
        np.array([one[name] for one in of.per_query.values()])
        for of, name in ((result, "R@10"), (result, "nDCG@10"), (best, "nDCG@10"))
    )
    kinds = {kind: measures["R@10"] for kind, measures in result.by_kind.items()}
    measures = {name: result.metrics[name] for name in _MEASURES}
    above = {"nDCG@10 - best part": (ndcg - of_best).mean(), "95 %": interval(ndcg - of_best)}
    about = {"data": data, "index": index, "queries": result.queries}
    return {**about, **measures, "R@10, 95 %": interval(recall), **above, **kinds}


def interval(values: Float64s) -> str:
    """Return the bootstrapped interval of a mean at 95 %."""
    means = np.random.default_rng(0).choice(values, (_RESAMPLES, len(values))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{low:.3f} to {high:.3f}"


def _fitted(memory: Memory, queries: list[Query]) -> float:
    """Return nDCG@10 with the weights that are fitted on the other half of the questions."""
    entry, gained = memory.snapshot.index("scores"), 0.0
    order = np.random.default_rng(0).permutation(len(queries)).tolist()
    split = [[queries[number] for number in order[start::2]] for start in range(2)]
    for asked, others in (split, split[::-1]):
        weights = fit_weights(HybridRetriever(memory, entry), others).weights
        with_weights = entry.model_copy(update={"settings": {**entry.settings, "weights": weights}})
        gained += evaluate(HybridRetriever(memory, with_weights), asked).metrics["nDCG@10"] * len(asked)
    return gained / len(queries)


if __name__ == "__main__":
    main()
