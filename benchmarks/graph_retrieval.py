"""Measure graph memories on data sets: recall by method, CPU time of a question, of a build, of ten documents more.

    python benchmarks/graph_retrieval.py FOLDER... [--triples spacy] [--model PATH] [--window TOKENS] [--json FILE]

A folder has `corpus.jsonl.gz` and `queries.jsonl`, and `openie.jsonl.gz` unless the triples come from spaCy. Everything
runs in this process, so that CPU times are its own. Encoding is counted apart: it is the model's time, whatever walks.
Differences are those to exact dense retrieval, in points, with the 95 % interval of the paired bootstrap.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

# One core's time: threads that wait for each other would count as work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from report import publish

import mnemodex
from mnemodex.pipelines import run as run_module
from mnemodex.pipelines.engine import LocalEngine
from mnemodex.retrievers.comparison import compare
from mnemodex.retrievers.evaluation import evaluate
from mnemodex.retrievers.queries import read_queries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.pipelines.messages import Answer, Unit
    from mnemodex.pipelines.progress import Progress
    from mnemodex.schemas.steps import Step
    from mnemodex.schemas.store.store import Store

WORDS = "bm25"
METHODS: dict[str, dict[str, str]] = {
    "hipporag1": {"method": "hipporag1"},
    "hipporag2": {"method": "hipporag2"},
    "bridge": {"method": "bridge"},
    "bridge-lite": {"method": "bridge-lite"},
    "bridge-words": {"method": "bridge", "words": WORDS},
    "bridge-lite-words": {"method": "bridge-lite", "words": WORDS},
}
GRAPH_STEPS = ("facts and entities", "synonyms", "edges", *METHODS)
SPENT: dict[str, float] = {}
"""CPU seconds of each step of the last build."""


class InProcess(LocalEngine):
    """Works in this process with two threads, and counts the CPU seconds of each step."""

    def __init__(self, store: Store, run: str, work: float, **options: Any) -> None:
        super().__init__(store, run, cpus=2, objects=options["objects"])
        self._step = ""

    def submit(self, step: Step, unit: Unit) -> None:
        """See `Engine`."""
        self._step = step.name
        super().submit(step, unit)

    def wait(self, progress: Progress) -> list[Answer]:
        """See `Engine`: works on the unit that was submitted."""
        started = time.process_time()
        answers = list(super().wait(progress))
        SPENT[self._step] = SPENT.get(self._step, 0.0) + time.process_time() - started
        return answers


class Setting(NamedTuple):
    """What a memory is built with.

    Attributes:
        triples: `file` or `spacy`.
        methods: of the graphs.
        model: a sentence encoder; MiniLM without one.
        window: tokens that documents are cut into; without it they are not cut.
    """

    triples: str
    methods: Sequence[str] = tuple(METHODS)
    model: str | None = None
    window: int | None = None


def build(folder: Path, corpus: Path, memory: Path, setting: Setting) -> dict[str, float]:
    """Build, and say what each step took."""
    SPENT.clear()
    # Only HippoRAG walks over synonyms.
    synonyms = {} if set(setting.methods) & {"hipporag1", "hipporag2"} else {"synonymy": None}
    graphs = {name: {"type": "graph", **METHODS[name], **synonyms} for name in setting.methods}
    mnemodex.build(
        {
            "source": {"path": str(corpus), "fields": {"key": "id"}},
            "memory": str(memory.absolute()),
            "triples": {"extractor": "spacy"}
            if setting.triples == "spacy"
            else {"from": str(folder / "openie.jsonl.gz")},
            **({"embed": {"minilm": {"model": setting.model}}} if setting.model else {}),
            **({"chunks": {"by": "tokens", "size": setting.window}} if setting.window else {}),
            "indexes": {"dense": {"type": "dense", "factory": "Flat"}, WORDS: {"type": "bm25"}, **graphs},
        }
    )
    return dict(SPENT)


@contextmanager
def encoding_apart(retriever: Any) -> Iterator[dict[str, float]]:
    """Counts the CPU seconds in which the retriever's space encodes texts."""
    counted, space = {"seconds": 0.0}, getattr(retriever, "space", None)
    if space is not None:
        own = space.encode

        def encode(texts: Sequence[str]) -> Any:
            started = time.process_time()
            found = own(texts)
            counted["seconds"] += time.process_time() - started
            return found

        space.encode = encode
    yield counted


def resident() -> float:
    """MB of the process's own memory, and of files that it has mapped."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return sum(int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("RssAnon", "RssFile")) / 1024


def recall(folder: Path, memory: Path, methods: Sequence[str], base: dict[str, Any]) -> list[dict[str, Any]]:
    """Every method's recall and time."""
    queries = [query for query in read_queries(folder / "queries.jsonl") if query.gold]
    opened = mnemodex.open(memory)
    opened.encoder("minilm").encode_queries(["What a model takes is not the graph's."])
    dense, rows = evaluate(opened.retriever("dense"), queries), []
    for name in ("dense", WORDS, *methods):
        before = resident()
        retriever = opened.retriever(name)
        # What is opened at the first search is no cost of a question.
        retriever.search([queries[0].question], 10)
        with encoding_apart(retriever) as encoding:
            started = time.process_time()
            evaluation = evaluate(retriever, queries)
            spent = time.process_time() - started - encoding["seconds"]
        metrics = evaluation.metrics
        row = {**base, "method": name, **{key: 100 * metrics[key] for key in ("R@1", "R@2", "R@5", "R@10", "nDCG@10")}}
        if name != "dense":
            for key in ("R@1", "R@5", "nDCG@10"):
                found = compare(dense, evaluation).metrics[key]
                interval = f"[{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
                row[f"{key} - dense"] = f"{100 * found.difference:+.1f} {interval}"
        if name in methods:
            row["CPU ms a question beyond encoding"] = spent / len(queries) * 1e3
            row["encoding, CPU ms"] = encoding["seconds"] / len(queries) * 1e3
            row["MB more in memory"] = resident() - before
        rows.append(row)
    return rows


def growth(folder: Path, work: Path, setting: Setting) -> dict[str, Any]:
    """CPU seconds of the graph from stored embeddings, and of ten documents more, as shares of a build of all."""
    lines = gzip.decompress((folder / "corpus.jsonl.gz").read_bytes()).splitlines(keepends=True)
    corpus = work / "growing.jsonl"
    corpus.write_bytes(b"".join(lines[:-10]))
    whole = build(folder, corpus, work / "growing", setting)
    corpus.write_bytes(b"".join(lines))
    more = build(folder, corpus, work / "growing", setting)
    graph = {name: spent for name, spent in whole.items() if name in GRAPH_STEPS}
    added = {name: spent for name, spent in more.items() if name in GRAPH_STEPS}
    return {
        "documents": len(lines) - 10,
        "graph from stored vectors, CPU s": sum(graph.values()),
        "of it synonyms": graph["synonyms"],
        "all, with extraction and encoding, CPU s": sum(whole.values()),
        "10 more: synonyms": added["synonyms"],
        "10 more: graph": sum(added.values()),
        "10 more: all": sum(more.values()),
        "10 more / all": sum(more.values()) / sum(whole.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folders", nargs="+", type=Path, help="data sets")
    parser.add_argument("--triples", choices=("file", "spacy"), default="file", help="where triples come from")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=tuple(METHODS), help="all by default")
    parser.add_argument("--model", help="a sentence encoder, MiniLM by default")
    parser.add_argument("--window", type=int, metavar="TOKENS", help="cut documents into windows of so many tokens")
    parser.add_argument("--work", type=Path, default=Path("memories/benchmarks"), help="where memories are built")
    parser.add_argument("--growth", action="store_true", help="also measure what ten documents more cost")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    run_module.choose_engine = InProcess  # type: ignore[assignment] # so that CPU times are this process's
    setting = Setting(given.triples, given.methods, given.model, given.window)
    rows, grown = [], []
    for folder in given.folders:
        memory = given.work / f"{folder.name}-{given.triples}"
        base = {"data": folder.name, "triples": given.triples}
        build(folder, folder / "corpus.jsonl.gz", memory, setting)
        rows.extend(recall(folder, memory, setting.methods, base))
        if given.growth:
            grown.append({**base, **growth(folder, given.work, setting)})
    publish(f"Graph retrieval, {Path(given.model).name if given.model else 'MiniLM'}", rows, json_path=given.json)
    if grown:
        publish("Building, CPU seconds of one process with 2 threads", grown, json_path=None)


if __name__ == "__main__":
    main()
