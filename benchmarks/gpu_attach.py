"""A language model that looks up neighbours on a GPU: `KnnLM.attach` over a datastore of exact search in torch."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gpu_bench import check, timed
from gpu_states import language_model, reading

from mnemodex.indexers.lm.capture import KeyCapture
from mnemodex.indexers.lm.reader import StateReader
from mnemodex.retrievers.datastore import DatastoreInfo, Neighbours
from mnemodex.retrievers.readers.knn_lm import KnnLM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpu_bench import Bench, Row

K, WEIGHT = 32, 0.25
_BATCH = 1024
"""Keys of one matrix of distances."""
_TEXTS = 8
_ROWS = (1, 32)
"""Prompts that are continued at once."""
_PROMPT = 24


class TensorDatastore:
    """Exact search among all entries, as tensors on a device: what a GPU machine without FAISS can look up in.

    Args:
        info: of the datastore.
        keys: float16, shape (n, dimension).
        tokens: what came next, int32 of shape (n,).
        device: where they lie.
    """

    def __init__(self, info: DatastoreInfo, keys: Any, tokens: Any, device: str) -> None:
        self.info = info
        self._keys = torch.from_numpy(keys).to(device).float()
        self._squares = self._keys.square().sum(1)
        self._tokens = tokens

    def nearest(self, keys: Any, k: int) -> Neighbours:
        parts = [self._nearest(part, k) for part in torch.from_numpy(keys).split(_BATCH)]
        distances, ids = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
        return Neighbours(distances, self._tokens[ids], ids).nearest_first()

    def _nearest(self, keys: Any, k: int) -> tuple[Any, Any]:
        queries = keys.to(self._keys.device)
        products = queries @ self._keys.T
        distances = self._squares[None] - 2 * products + queries.square().sum(1)[:, None]
        found = distances.topk(k, largest=False)
        return found.values.clamp_min(0), found.indices

    def measure(self, keys: Any, ids: Any) -> Neighbours:
        queries = torch.from_numpy(keys).to(self._keys.device)
        entries = self._keys[torch.from_numpy(np.maximum(ids, 0)).to(self._keys.device)]
        distances = (entries - queries[:, None]).square().sum(2).cpu().numpy()
        known = ids >= 0
        tokens = np.where(known, self._tokens[np.maximum(ids, 0)], -1)
        return Neighbours(np.where(known, distances, np.float32(np.inf)), tokens.astype(np.int32), ids)


def attach(bench: Bench) -> Iterator[Row]:
    """Check and time a model with and without a datastore of what it has read."""
    name, (shape, tokens) = next(iter(bench.sizes.language_models.items()))
    model = language_model(bench, shape)
    texts, predicted = reading(bench, shape["vocab_size"], tokens)
    store = _store(bench, model, texts, predicted)
    ids = torch.from_numpy(np.stack([text[:-1] for text in texts[:_TEXTS]]).astype(np.int64)).to(bench.device)
    yield from _checks(name, model, store, ids, int(predicted[:_TEXTS].min()))
    for attached in (False, True):
        for row in _times(bench, model, KnnLM(store, k=K, weight=WEIGHT) if attached else None, ids):
            yield {"model": name, "entries": store.info.rows, "attached": attached, **row}


def _times(bench: Bench, model: Any, knn: KnnLM | None, ids: Any) -> Iterator[Row]:
    """A forward pass over texts, and generation after prompts."""
    with knn.attach(model) if knn else nullcontext(), torch.inference_mode():
        bench.memory()
        seconds = timed(lambda: model(ids, use_cache=False).logits, repeats=3)
        yield _rate("forward", ids.numel(), seconds, **bench.memory())
        options = {"max_new_tokens": bench.sizes.generated, "do_sample": False, "pad_token_id": 0}
        for rows in _ROWS:
            prompts = ids.flatten()[: rows * _PROMPT].reshape(rows, -1)
            generate = partial(model.generate, prompts, attention_mask=torch.ones_like(prompts), **options)
            yield _rate(f"generate, {rows} at once", rows * bench.sizes.generated, timed(generate, repeats=2))


def _rate(way: str, tokens: int, seconds: float, **more: Any) -> Row:
    return {"way": way, "tokens": tokens, "seconds": seconds, "tokens/s": tokens / seconds, **more}


def _store(bench: Bench, model: Any, texts: list[Any], predicted: Any) -> TensorDatastore:
    """The states of all predicted tokens."""
    read = dict(StateReader(model, "ffn_input", surprisal=False).read(texts, predicted))
    keys = np.concatenate([read[number].keys for number in range(len(texts))])
    tokens = np.concatenate([text[-count:] for text, count in zip(texts, predicted, strict=True)])
    window, overlap = bench.sizes.window
    info = DatastoreInfo(
        name="made-up",
        rows=len(keys),
        dimension=keys.shape[1],
        key="ffn_input",
        model="made-up",
        model_sha256="",
        tokenizer_sha256="",
        vocabulary=model.config.vocab_size,
        window=window,
        overlap=overlap,
        prefix=(),
        scale=1.0,
        sample_tokens=texts[0],
        sample_keys=read[0].keys.astype(np.float32),
    )
    store = TensorDatastore(info, keys, tokens, bench.device)
    # With random weights no other context is near, so the entry of the same context has almost all the weight.
    second = np.median(store.nearest(keys[:_BATCH].astype(np.float32), 2).distances[:, 1])
    store.info = replace(info, scale=float(second) / 10)
    return store


def _checks(name: str, model: Any, store: TensorDatastore, ids: Any, known: int) -> Iterator[Row]:
    """The mixture by its definition, in float64, from the keys of the same pass; and that it knows what it has read.

    That is so many last tokens of every window: the others were predicted in the one before, after other tokens.
    """
    knn = KnnLM(store, k=K, weight=WEIGHT)
    with torch.inference_mode():
        with KeyCapture(model, "ffn_input") as capture:
            logits = model(ids, use_cache=False).logits
        with knn.attach(model):
            mixed = model(ids, use_cache=False).logits.double()
    neighbours = store.nearest(capture.last.float().flatten(0, 1).cpu().numpy(), K)
    parts = torch.softmax(torch.from_numpy(-neighbours.distances.astype(np.float64) / knn.temperature), -1)
    found = torch.from_numpy(neighbours.tokens.astype(np.int64)).to(ids.device)
    alone = torch.log_softmax(logits.double(), -1)
    expected = (1 - WEIGHT) * alone.exp().flatten(0, 1)
    expected.scatter_add_(1, found, WEIGHT * parts.to(ids.device))
    error = float((mixed.flatten(0, 1) - expected.log()).abs().max())
    yield check("mixed log p less its definition", error, most=1e-3, model=name)
    came = ids[:, 1 - known :, None]
    before, after = (-log[:, -known:-1].gather(2, came).mean() for log in (alone, mixed))
    yield check("surprisal of what was read, by that of the model alone", float(after / before), most=0.25, model=name)
