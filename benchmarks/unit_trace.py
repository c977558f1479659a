"""Who works on what and when: a build on a node of 16 CPUs and a GPU, which this machine need not have.

python benchmarks/unit_trace.py [--documents N] [--cpus N] [--json FILE] [--events FILE]

Ray takes them as the node's, so what is measured is which units are at work at one time and what they hold, and
not how fast they are. The recipe is a real one: vectors (HNSW), BM25, n-grams and a knowledge graph, with an encoder
that hashes words and takes its time, as a model on a GPU would. `CPUs at once` counts those of all units at work, of
whatever step, at the best moment of the step; `of the time` is the share of the step's wall time in which at least
N - 1 CPUs are at work. `--events` writes every unit: step, label, worker, CPUs, GPUs, and when it began and ended.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from report import publish
from scale import HashingEncoder, write_corpus

import mnemodex
from mnemodex.pipelines import run as run_module
from mnemodex.pipelines.ray_engine import RayEngine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

INDEXES = {
    "hnsw": {"type": "dense", "embed": "gpu", "factory": "HNSW16"},
    "words": {"type": "bm25"},
    "ngrams": {"type": "ngram"},
    "graph": {"type": "graph", "embed": "gpu", "method": "hipporag2"},
}


class GpuEncoder(HashingEncoder):
    """An encoder that takes 20 ms for 64 texts, without using a CPU meanwhile."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        time.sleep(0.02 * len(texts) / 64)
        return super().encode(texts)


@dataclass
class Event:
    """One unit: from when a worker was given it until its answer; seconds since the first one."""

    step: str
    label: str
    worker: int
    cpus: int
    gpus: int
    began: float
    ended: float = float("inf")


class TracedEngine(RayEngine):
    """The engine of builds, which keeps what it gave to whom and when."""

    events: list[Event]

    def _begin(self, worker: Any, unit: Any) -> None:
        cpus, gpus, _ = worker.shape
        self.events.append(Event(unit.step, unit.label, worker.number, cpus, gpus, time.monotonic()))
        super()._begin(worker, unit)

    def wait(self, progress: Any) -> Iterator[Any]:
        for answer in super().wait(progress):
            for event in self.events:
                if (event.step, event.label) == (answer.step, answer.label):
                    event.ended = time.monotonic()
            yield answer


def write_triples(corpus: Path, triples: Path) -> None:
    """What each document says: who met whom."""
    with triples.open("w") as file:
        for line in corpus.open():
            row = json.loads(line)
            first, _, rest = row["text"].partition(" met ")
            row = {"id": row["id"], "entities": [], "triples": [[first, "met", " ".join(rest.split()[:2])]]}
            file.write(f"{json.dumps(row)}\n")


def build(folder: Path, documents: int) -> list[Event]:
    """Build on the Ray of this process; the units in the order in which they began."""
    write_corpus(folder / "corpus.jsonl", documents)
    write_triples(folder / "corpus.jsonl", folder / "triples.jsonl")
    events: list[Event] = []

    def choose(store: Any, run: str, work: float, *, place: Any, objects: Any) -> TracedEngine:
        engine = TracedEngine(store, run, address=None, objects=objects)
        engine.events = events
        return engine

    run_module.choose_engine = choose  # type: ignore[assignment] # to follow it
    recipe = {
        "source": {"path": str(folder / "corpus.jsonl"), "fields": {"key": "id", "title": "title", "text": "text"}},
        "memory": str(folder / "memory"),
        "triples": {"from": str(folder / "triples.jsonl")},
        "indexes": INDEXES,
    }
    mnemodex.build(recipe, encoders={"gpu": GpuEncoder()})
    start = min(event.began for event in events)
    for event in events:
        event.began -= start
        event.ended -= start
    return events


def at_work(events: list[Event], moment: float) -> tuple[int, int]:
    """CPUs of the workers without a GPU, and GPUs, that are held by units at work."""
    busy = {event.worker: event for event in events if event.began <= moment < event.ended}.values()
    return sum(event.cpus for event in busy if not event.gpus), sum(event.gpus for event in busy)


def summarise(events: list[Event], cpus: int) -> list[dict[str, Any]]:
    """A row for each step."""
    moments = sorted({moment for event in events for moment in (event.began, event.ended)})
    held = {moment: at_work(events, moment) for moment in moments}
    rows = []
    for step in dict.fromkeys(event.step for event in events):
        units = [event for event in events if event.step == step]
        began, ended = min(event.began for event in units), max(event.ended for event in units)
        inside = [(here, following) for here, following in pairwise(moments) if began <= here < ended]
        full = sum(following - here for here, following in inside if held[here][0] >= cpus - 1)
        rows.append(
            {
                "step": step,
                "units": len(units),
                "workers": len({event.worker for event in units}),
                "CPUs each": max(event.cpus for event in units),
                "GPUs each": max(event.gpus for event in units),
                "CPUs at once": max(held[here][0] for here, _ in inside),
                "of the time": full / (ended - began),
                "began s": began,
                "ended s": ended,
            }
        )
    return rows


def main() -> None:
    """Print the table, and write every unit if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=40_000)
    parser.add_argument("--cpus", type=int, default=16)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--events", type=Path)
    given = parser.parse_args()
    import ray

    ray.init(address="local", num_cpus=given.cpus, num_gpus=1, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        events = build(Path(folder), given.documents)
    ray.shutdown()
    if given.events is not None:
        given.events.write_text(json.dumps([asdict(event) for event in events], indent=1) + "\n")
    publish(
        f"{given.documents} documents, {given.cpus} CPUs and a GPU", summarise(events, given.cpus), json_path=given.json
    )
    gpu = [event for event in events if event.gpus]
    chunked = max(event.ended for event in events if event.step == "chunks")
    early = sum(event.began < chunked for event in gpu)
    print(f"\nof {len(gpu)} units on the GPU, {early} began before the last chunk was cut")


if __name__ == "__main__":
    main()
