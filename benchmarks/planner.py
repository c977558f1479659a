"""Capacity plans against the builds that they foretell: bytes and CPU time of each part, planned by built.

python benchmarks/planner.py [--rows N N N] [--indexes NAME ...] [--seconds S] [--json FILE]

For each number of documents: a plan from a calibration of that corpus, then the build itself on Ray. Documents are the
one-line ones of scale.py; vectors are of a table of 64 numbers a token. Beyond 200,000 documents BM25, exact search and
inverted lists alone are built, which take minutes. CPU seconds of a part are what its units measured; those of all are
of all processes, Ray's included.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from processes import measure
from report import publish
from scale import write_corpus

from mnemodex.indexers.models.locate import locate
from mnemodex.pipelines.planner.laws import Estimate, total
from mnemodex.pipelines.planner.plan import PlanOptions, make_plan
from mnemodex.pipelines.planner.trials import results_of
from mnemodex.retrievers.snapshot import Snapshot
from mnemodex.schemas.sections import DEFAULT_MODEL

if TYPE_CHECKING:
    from mnemodex.pipelines.planner.estimate import BuildPlan
    from mnemodex.pipelines.planner.figures import ResultCost

INDEXES: dict[str, dict[str, Any]] = {
    "words": {"type": "bm25"},
    "exact": {"type": "dense", "embed": "table", "factory": "Flat"},
    "lists": {"type": "dense", "embed": "table", "factory": "IVF256,SQ8"},
    "ngrams": {"type": "ngram"},
    "links": {"type": "dense", "embed": "table", "factory": "HNSW32"},
    "names": {"type": "graph", "method": "bridge-lite", "embed": "table"},
}
_MANY = 200_000
_OF_MANY = ("words", "exact", "lists")
_DIMENSION = 64
_LEAST_SECONDS, _LEAST_BYTES = 0.1, 1 << 16
"""Parts that take less are not listed; they count in the sums."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Bytes and CPU seconds of a part of a build, planned and built."""

    documents: int
    part: str
    bytes_planned: float
    bytes_built: int
    cpu_planned: Estimate
    cpu_built: float

    def row(self) -> dict[str, Any]:
        """Return it as a row of the table."""
        cpu = self.cpu_planned
        return {
            "documents": self.documents,
            "part": self.part,
            "MB planned": self.bytes_planned / 1e6,
            "MB built": self.bytes_built / 1e6,
            "bytes, planned by built": round(self.bytes_planned / self.bytes_built, 2) if self.bytes_built else None,
            "CPU s planned": f"{cpu.value:.2f} ({cpu.low:.2f} to {cpu.high:.2f})",
            "CPU s built": self.cpu_built,
            "CPU, planned by built": round(cpu.value / self.cpu_built, 2) if self.cpu_built else None,
        }


@dataclass(frozen=True, slots=True)
class Built:
    """What a build took: CPU seconds of all processes, wall seconds, and each result."""

    cpu: float
    seconds: float
    results: dict[str, ResultCost]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--indexes", nargs="+", choices=INDEXES, default=list(INDEXES))
    parser.add_argument("--seconds", type=float, default=120.0, help="of the calibration")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: list[Comparison] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_encoder(folder / "table")
        for rows in options.rows:
            indexes = [index for index in options.indexes if rows <= _MANY or index in _OF_MANY]
            recipe = write_recipe(folder, rows, indexes)
            options_of_plan = PlanOptions(seconds=options.seconds)
            planned = make_plan(recipe, rows, options_of_plan, progress=lambda line: print(line, file=sys.stderr))
            found += compare(planned.build, build(recipe, folder / f"memory-{rows}"))
            publish("Plans and builds", [one.row() for one in found], json_path=options.json)


def save_encoder(folder: Path) -> None:
    """A vector for each token: as cheap as an encoder can be."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(locate(DEFAULT_MODEL) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    weights = np.random.default_rng(0).standard_normal((tokenizer.get_vocab_size(), _DIMENSION)).astype(np.float32)
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu").save(str(folder))


def write_recipe(folder: Path, rows: int, indexes: list[str]) -> Path:
    """A corpus of so many documents, and the recipe of some indexes of it."""
    corpus = folder / f"corpus-{rows}.jsonl"
    write_corpus(corpus, rows)
    recipe = {
        "source": {"path": str(corpus)},
        "embed": {"table": {"model": str(folder / "table")}},
        "indexes": {name: INDEXES[name] for name in indexes},
    }
    path = folder / f"recipe-{rows}.yaml"
    path.write_text(json.dumps(recipe))
    return path


def build(recipe: Path, memory: Path) -> Built:
    """Build on Ray, and return what it took."""
    environment = memory.with_suffix(".json")
    environment.write_text("{}")
    command = [sys.executable, "-m", "mnemodex", "build", str(recipe), "--memory", str(memory), "--json"]
    cost = measure([*command, "--runtime-env", str(environment)])
    return Built(cost.cpu_seconds, cost.seconds, results_of(Snapshot.open(memory).manifest))


def compare(planned: BuildPlan, built: Built) -> list[Comparison]:
    """A row for each part of some weight, and one for all units, and one for all processes."""
    parts = {part.name: part for part in planned.parts}
    found = [
        Comparison(planned.documents, name, parts[name].bytes.value, cost.bytes, parts[name].cpu, cost.cpu)
        for name, cost in built.results.items()
        if name in parts and (cost.cpu >= _LEAST_SECONDS or cost.bytes >= _LEAST_BYTES)
    ]
    units = total(part.cpu for part in planned.parts if part.kind != "start")
    spent = sum(cost.cpu for cost in built.results.values())
    size = sum(cost.bytes for cost in built.results.values())
    sums = {"all units": (units, spent), f"all processes ({built.seconds:.0f} s)": (planned.cpu, built.cpu)}
    found += [Comparison(planned.documents, name, planned.bytes.value, size, *cpu) for name, cpu in sums.items()]
    return found


if __name__ == "__main__":
    main()
