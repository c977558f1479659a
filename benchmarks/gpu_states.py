"""Next-token states on a GPU: a causal language model with made-up weights reads windows of made-up tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gpu_bench import check
from lm_dump import ways

from mnemodex.indexers.lm.reader import StateReader, windows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpu_bench import Bench, Row

_KEYS = 0.03
"""How far keys in bf16 may be from those in float32: of their length."""

_NATS = 0.05
"""How far surprisals and entropies may be from those in float32, on average."""


def states(bench: Bench) -> Iterator[Row]:
    """Check and time each language model."""
    for name, (shape, tokens) in bench.sizes.language_models.items():
        model = language_model(bench, shape)
        texts, predicted = reading(bench, shape["vocab_size"], tokens)
        few = slice(0, bench.sizes.checked[1])
        yield from _checks(name, model, texts[few], predicted[few])
        read = sum(len(text) - 1 for text in texts)
        bench.memory()
        rows = [
            {
                "model": name,
                "way": way,
                "tokens": read,
                "seconds": seconds,
                "tokens/s": read / seconds,
                **bench.rates(read * flops, seconds),
            }
            for way, seconds, flops in ways(model, texts, predicted)
        ]
        yield from rows[:-1]
        yield {**rows[-1], **bench.memory()}


def language_model(bench: Bench, shape: dict[str, int]) -> Any:
    """A Llama with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(**shape, max_position_embeddings=2048, tie_word_embeddings=True)
    with torch.device(bench.device):
        model: Any = LlamaForCausalLM(config)
    # A text that it generates has no end.
    model.generation_config.eos_token_id = None
    return model.to(bench.dtype).eval()


def reading(bench: Bench, vocabulary: int, tokens: int) -> tuple[list[Any], Any]:
    """The windows of one text of random tokens, int32, and how many tokens are predicted in each."""
    window, overlap = bench.sizes.window
    ids = np.random.default_rng(0).integers(10, vocabulary, tokens).astype(np.int32)
    cut = windows(np.array([tokens]), window=window, overlap=overlap, prefix=0)
    return [ids[start:stop] for start, stop in zip(cut.start, cut.stop, strict=True)], cut.predicted


def _checks(name: str, model: Any, texts: list[Any], predicted: Any) -> Iterator[Row]:
    reader = StateReader(model, "ffn_input", entropy=True)
    whole = dict(reader.read(texts, predicted))
    exact = _exact(model, texts, predicted)
    keys, expected = (np.concatenate(part) for part in zip(*((whole[n].keys, exact[n][0]) for n in whole), strict=True))
    error = float(np.linalg.norm(keys - expected) / np.linalg.norm(expected))
    yield check("keys less float32, of their length", error, most=_KEYS, model=name)
    for column, what in enumerate(("surprisal", "entropy"), start=1):
        errors = [np.abs(getattr(whole[number], what) - exact[number][column]).mean() for number in whole]
        yield check(f"{what} less float32, nats", float(np.mean(errors)), most=_NATS, model=name)
    # Batches are of whole windows; the first to come is the first batch's.
    done = np.zeros(len(texts), bool)
    done[list(whole)[: len(whole) // 2]] = True
    again = dict(reader.read(texts, predicted, done=done))
    changed = sum(not np.array_equal(again[number].keys, whole[number].keys) for number in again)
    yield check("windows that an interruption changes", changed, most=0, model=name)


def _exact(model: Any, texts: list[Any], predicted: Any) -> list[tuple[Any, Any, Any]]:
    """Keys, surprisals and entropies of predicted tokens, by the same weights in float32, window by window."""
    import copy

    float32 = copy.deepcopy(model).float()
    found: list[Any] = []
    hook = float32.model.layers[-1].mlp.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0][0]))
    results = []
    with torch.inference_mode(), hook:
        for text, count in zip(texts, predicted, strict=True):
            ids = torch.from_numpy(text.astype(np.int64)).to(model.device)
            log = torch.log_softmax(float32(ids[None, :-1], use_cache=False).logits[0, -count:], -1)
            surprisals = -log.gather(1, ids[-count:, None])[:, 0]
            entropies = -(log.exp() * log).sum(-1)
            results.append(tuple(part.cpu().numpy() for part in (found.pop()[-count:], surprisals, entropies)))
    return results
