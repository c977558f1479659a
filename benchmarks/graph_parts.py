"""Measure the parts of the method `bridge`: each alone, each left out, a budget; recall, intervals, CPU time by part.

    python benchmarks/graph_parts.py FOLDER... [--triples spacy] [--parts cap,clauses] [--budget 10 20] [--json FILE]

A folder has `corpus.jsonl.gz` and `queries.jsonl`, and `openie.jsonl.gz` unless the triples come from spaCy. Without
`--parts`, all parts, each left out and each alone are measured; `none` is the rewriting by mentions, not capped.
Differences are of the first row of their table that is not dense, in points, with the 95 % interval of the paired
bootstrap. Vectors of texts are kept from row to row, and encoding is measured apart.
"""

from __future__ import annotations

import argparse
import time
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from graph_retrieval import InProcess
from report import publish

import mnemodex
from mnemodex.pipelines import run as run_module
from mnemodex.retrievers.comparison import compare
from mnemodex.retrievers.evaluation import evaluate
from mnemodex.retrievers.graph.bridge import Bridge
from mnemodex.retrievers.graph.parsing import find_parser
from mnemodex.retrievers.graph.rounds import Parts
from mnemodex.retrievers.queries import read_queries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mnemodex.retrievers.evaluation import Evaluation
    from mnemodex.retrievers.queries import Query

NAMES = tuple(field.name for field in fields(Parts))
STEPS = {
    "linking facts": "nearest_facts",
    "cosines of passages": "dense",
    "reading texts": "read",
    "reading facts": "facts",
}
"""What a space does, and its method that does it."""


def build(folder: Path, memory: Path, triples: str) -> None:
    """Build vectors and a graph, without the synonyms, that bridges do not walk."""
    mnemodex.build(
        {
            "source": {"path": str(folder / "corpus.jsonl.gz"), "fields": {"key": "id"}},
            "memory": str(memory.absolute()),
            "triples": {"extractor": "spacy"} if triples == "spacy" else {"from": str(folder / "openie.jsonl.gz")},
            "indexes": {
                "dense": {"type": "dense", "factory": "Flat"},
                "bridge": {"type": "graph", "method": "bridge", "synonymy": None},
            },
        }
    )


class KeptVectors:
    """An encoder that keeps its vectors, if `keeps` is set, and counts texts and the CPU seconds of the new ones."""

    keeps = True

    def __init__(self, encode: Callable[[Sequence[str]], Any]) -> None:
        self._encode = encode
        self._kept: dict[str, Any] = {}
        self.texts = self.new = 0
        self.seconds = self.all_seconds = 0.0

    def __call__(self, texts: Sequence[str]) -> Any:
        self.texts += len(texts)
        if not self.keeps:
            return self._encode(texts)
        started = time.process_time()
        new = [text for text in dict.fromkeys(texts) if text not in self._kept]
        if new:
            self._kept.update(zip(new, self._encode(new), strict=True))
            self.new += len(new)
            self.seconds += time.process_time() - started
        vectors = np.stack([self._kept[text] for text in texts])
        self.all_seconds += time.process_time() - started
        return vectors


def parts_of(names: str) -> Parts:
    """The parts of a list of their names: "all", "none", or names between commas."""
    chosen = {"all": NAMES, "none": ()}.get(names, tuple(names.split(",")))
    if unknown := sorted(set(chosen) - {*NAMES}):
        raise SystemExit(f"--parts {names}: there is no part {unknown[0]!r}; the parts are {', '.join(NAMES)}")
    return Parts(**{name: name in chosen for name in NAMES})


def variants() -> dict[str, str]:
    """What is measured by default: a name, and the parts. The second round needs clauses, and all but the cap it."""
    left_out = {f"without {name}": ",".join(part for part in NAMES if part != name) for name in NAMES}
    left_out["without clauses"] = "cap,pairs,titles"
    alone = {"cap alone": "cap", **{f"cap, {name}": f"cap,{name}" for name in ("clauses", "pairs", "titles")}}
    return {"none": "none", "all": "all", **left_out, **alone, "cap, clauses, second": "cap,clauses,second"}


@contextmanager
def clocked(method: Bridge, space: Any) -> Iterator[dict[str, float]]:
    """Counts the CPU seconds of the steps of a method."""
    spent: dict[str, float] = {}

    def counting(step: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **options: Any) -> Any:
            started = time.process_time()
            answer = call(*given, **options)
            if step == "walking":
                answer = list(answer)
            spent[step] = spent.get(step, 0.0) + time.process_time() - started
            return answer

        return counted

    own = {name: getattr(space, name) for name in STEPS.values()}
    for step, name in STEPS.items():
        setattr(space, name, counting(step, own[name]))
    method.walker.walk = counting("walking", method.walker.walk)  # type: ignore[method-assign] # to see its time alone
    if method._parser.parse is not None:
        method._parser = method._parser._replace(parse=counting("parsing", method._parser.parse))
    try:
        yield spent
    finally:
        for name, call in own.items():
            setattr(space, name, call)


def measure(retriever: Any, method: Bridge, queries: Sequence[Query]) -> tuple[Evaluation, dict[str, float]]:
    """An evaluation, then texts and CPU ms of a question, step by step, of a search of all."""
    retriever._method = method
    evaluation = evaluate(retriever, queries)
    encode, questions = retriever.space.encode, [query.question for query in queries]
    texts, encoding = encode.texts, encode.all_seconds
    with clocked(method, retriever.space) as spent:
        started = time.process_time()
        retriever.search(questions, 10)
        whole = time.process_time() - started - (encode.all_seconds - encoding)
    spent["rewriting and the rest"] = whole - sum(spent.values())
    costs = {"texts": (encode.texts - texts) / len(queries), "CPU ms beyond encoding": whole / len(queries) * 1e3}
    return evaluation, costs | {f"of it {step}": seconds / len(queries) * 1e3 for step, seconds in spent.items()}


def limited(retriever: Any, method: Bridge, queries: Sequence[Query]) -> tuple[Evaluation, dict[str, float]]:
    """An evaluation with a budget, then texts and milliseconds of a question, walking included, by the wall's clock."""
    retriever._method = method
    evaluation = evaluate(retriever, queries)
    encode, score, spent = retriever.space.encode, method.score, [0.0]

    def timed(*given: Any) -> Any:
        started = time.perf_counter()
        answer = score(*given)
        spent[0] += time.perf_counter() - started
        return answer

    method.score = timed  # type: ignore[method-assign] # to see its time alone
    texts = encode.texts
    retriever.search([query.question for query in queries], 10)
    return evaluation, {"texts": (encode.texts - texts) / len(queries), "ms": spent[0] / len(queries) * 1e3}


def rows_of(folder: Path, memory: Path, chosen: dict[str, str], budgets: Sequence[float]) -> list[dict[str, Any]]:
    """A row for dense retrieval and for each variant."""
    queries = read_queries(folder / "queries.jsonl")
    opened = mnemodex.open(memory)
    retriever: Any = opened.retriever("bridge")
    encode = KeptVectors(retriever.space.encode)
    retriever.space.encode = encode
    parser = find_parser("clauses", opened.snapshot.manifest.recipe.get("triples"))
    dense = evaluate(opened.retriever("dense"), queries)
    evaluations: list[tuple[str, Evaluation, dict[str, float]]] = [("dense", dense, {})]
    methods = {name: Bridge(parser=parser, parts=parts_of(parts)) for name, parts in chosen.items()}
    for name, method in methods.items():
        evaluations.append((name, *measure(retriever, method, queries)))
    # What is kept takes no time.
    encode.keeps = False
    evaluations += [
        (f"budget_ms {ms:g}", *limited(retriever, Bridge(parser=parser, budget_ms=ms), queries)) for ms in budgets
    ]
    base = evaluations[1][1]
    rows = []
    for name, evaluation, costs in evaluations:
        row: dict[str, Any] = {"data": folder.name, "parts": name}
        row |= {key: 100 * evaluation.metrics[key] for key in ("R@1", "R@2", "R@5", "R@10", "nDCG@10")}
        for against, label in ((base, evaluations[1][0]), (dense, "dense")):
            for key in ("R@1", "R@5", "nDCG@10"):
                difference = compare(against, evaluation).metrics[key]
                interval = f"[{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"
                row[f"{key} - {label}"] = f"{100 * difference.difference:+.1f} {interval}"
        rows.append(row | costs)
    rows[0]["encoding, CPU ms a text"] = encode.seconds / max(encode.new, 1) * 1e3
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folders", nargs="+", type=Path, help="data sets")
    parser.add_argument("--triples", choices=("file", "spacy"), default="spacy", help="where triples come from")
    parser.add_argument("--parts", nargs="+", help=f"all, none, or of {','.join(NAMES)}, joined by commas")
    parser.add_argument("--budget", nargs="+", type=float, default=[], metavar="MS", help="also measure budget_ms")
    parser.add_argument("--work", type=Path, default=Path("memories/benchmarks"), help="where memories are built")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    run_module.choose_engine = InProcess  # type: ignore[assignment] # so that CPU times are this process's
    chosen = {parts: parts for parts in given.parts} if given.parts else variants()
    rows = []
    for folder in given.folders:
        memory = given.work / f"{folder.name}-{given.triples}"
        build(folder, memory, given.triples)
        rows.extend(rows_of(folder, memory, chosen, given.budget))
    publish("The parts of bridge, MiniLM", rows, json_path=given.json)


if __name__ == "__main__":
    main()
