"""Capacity plans against the builds that they foretell: bytes and CPU time of each part, planned by built.

python benchmarks/planner.py [--rows N N N] [--indexes NAME ...] [--seconds S] [--json FILE]

For each number of documents: `mnemodex plan` from a calibration of that corpus, then the build itself on Ray. Documents
are the one-line ones of scale.py; vectors are of a table of 64 numbers a token. CPU seconds of a part are what its
units measured; those of all are of all processes, Ray's included, and grow with the hours that Ray runs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from processes import measure
from report import publish
from scale import write_corpus

import mnemodex
from mnemodex.indexers.models.locate import locate
from mnemodex.schemas.sections import DEFAULT_MODEL

INDEXES: dict[str, dict[str, Any]] = {
    "words": {"type": "bm25"},
    "ngrams": {"type": "ngram"},
    "dense": {"type": "dense", "embed": "table"},
    "lists": {"type": "dense", "embed": "table", "factory": "IVF256,SQ8"},
}
_DIMENSION = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--indexes", nargs="+", choices=INDEXES, default=list(INDEXES))
    parser.add_argument("--seconds", type=float, default=120.0, help="of the calibration")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_encoder(folder / "table")
        for rows in options.rows:
            recipe = write_recipe(folder, rows, options.indexes)
            planned = plan(recipe, rows, options.seconds)
            found += compare(rows, planned, build(recipe, folder / f"memory-{rows}"))
            publish("Plans and builds", found, json_path=options.json)


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


def plan(recipe: Path, rows: int, seconds: float) -> dict[str, Any]:
    """What is foretold."""
    command = [sys.executable, "-m", "mnemodex", "plan", str(recipe), "--documents", str(rows), "--json"]
    planned: dict[str, Any] = json.loads(measure([*command, "--seconds", str(seconds)]).output)
    return planned


def build(recipe: Path, memory: Path) -> dict[str, Any]:
    """What the build took: of all processes, and of each result."""
    environment = memory.with_suffix(".json")
    environment.write_text("{}")
    command = [sys.executable, "-m", "mnemodex", "build", str(recipe), "--memory", str(memory), "--json"]
    cost = measure([*command, "--runtime-env", str(environment)])
    manifest = mnemodex.open(memory).snapshot.manifest
    kept: dict[str, Any] = {name: entry.partitions for name, entry in {**manifest.tables, **manifest.caches}.items()}
    kept |= {name: entry.shards for name, entry in manifest.indexes.items()}
    steps = {
        name: {
            "bytes": sum(part.bytes for part in parts),
            "cpu": sum(part.stats.cpu_seconds for part in parts),
        }
        for name, parts in kept.items()
    }
    return {"cpu": cost.cpu_seconds, "seconds": cost.seconds, "steps": steps}


def compare(rows: int, planned: dict[str, Any], built: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each part of some weight, and one for all units, and one for all processes."""
    parts = {part["name"]: part for part in planned["parts"]}
    steps = {name: step for name, step in built["steps"].items() if step["cpu"] >= 0.1 or step["bytes"] >= 1 << 16}
    found = [_row(rows, name, parts[name], step) for name, step in steps.items() if name in parts]
    units = [part for part in planned["parts"] if part["kind"] != "start"]
    sums = {
        what: {end: sum(part[what][end] for part in units) for end in ("value", "low", "high")}
        for what in ("bytes", "cpu_seconds")
    }
    every = {what: sum(step[what] for step in built["steps"].values()) for what in ("bytes", "cpu")}
    found.append(_row(rows, "all units", sums, every))
    all_of = {"bytes": planned["bytes"], "cpu_seconds": planned["cpu_seconds"]}
    found.append(_row(rows, f"all processes ({built['seconds']:.0f} s)", all_of, {**every, "cpu": built["cpu"]}))
    return found


def _row(rows: int, name: str, planned: dict[str, Any], built: dict[str, Any]) -> dict[str, Any]:
    size, cpu = planned["bytes"], planned["cpu_seconds"]
    return {
        "documents": rows,
        "part": name,
        "MB planned": size["value"] / 1e6,
        "MB built": built["bytes"] / 1e6,
        "ratio": round(size["value"] / built["bytes"], 2) if built["bytes"] else None,
        "CPU s planned": f"{cpu['value']:.2f} ({cpu['low']:.2f} to {cpu['high']:.2f})",
        "CPU s built": built["cpu"],
        "ratio of CPU": round(cpu["value"] / built["cpu"], 2) if built["cpu"] else None,
    }


if __name__ == "__main__":
    main()
