"""What a model writes with a memory and without, which perplexity does not show.

Interpolation lowers perplexity, but text that is generated with it is no better, and the neighbours' entropy grows
faster over generated text than the model's (Wang et al., "kNN-LM Does Not Improve Open-ended Text Generation", 2023).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from mnemodex.retrievers.readers.knn_lm.knn_lm import KnnLM
from mnemodex.retrievers.readers.knn_lm.mixing import token_log_probabilities
from mnemodex.retrievers.readers.knn_lm_report.neighbourhoods import batches, gather
from mnemodex.retrievers.readers.knn_lm_report.reading import read_texts
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.indexers.arrays import Float64s, Int32s
    from mnemodex.indexers.models.language_model import LanguageModel
    from mnemodex.retrievers.datastore import Datastore
    from mnemodex.retrievers.readers.knn_lm.mixing import Mixing
    from mnemodex.retrievers.readers.knn_lm_report.neighbourhoods import Neighbourhoods

PROMPT = 32
"""Tokens of a text that the model continues."""

PROMPTS = 8
TOP_P = 0.8
"""Nucleus sampling as in the paper."""

_RANGES = 4

Entropies = TypedDict("Entropies", {"from": int, "to": int, "retrieval_entropy": float, "model_entropy": float})
"""Mean entropies, in nats, of p_knn and of the model's own distribution at a range of places, counted from the end of
the prompt."""


@dataclass(frozen=True, slots=True)
class Continuations:
    """Texts that continue the prompts.

    Attributes:
        distinct: by n, of all their n-grams, the part that is different (Li et al., 2016).
        repeated_4grams_percent: of the 4-grams, those that the same text has had before.
        by_position: how uncertain model and memory are.
    """

    texts: int
    distinct: dict[int, float]
    repeated_4grams_percent: float
    by_position: list[Entropies]


@dataclass(frozen=True, slots=True)
class Generation:
    """What was written from the beginnings of texts.

    Attributes:
        prompts: how many beginnings, each of `prompt_tokens` and continued by `generated_tokens`.
        settings: with the temperature.
        ways: what was written `without` the memory and `with_memory`, and what the `text` itself has, where texts are
            long enough.
    """

    index: str
    model: str
    prompts: int
    prompt_tokens: int
    generated_tokens: int
    sampling: dict[str, float]
    settings: Mixing
    ways: dict[str, Continuations]

    def to_json(self) -> dict[str, Any]:
        """Return the report as `eval --json` prints it."""
        return asdict(self)


def generate(
    datastore: Datastore,
    lm: LanguageModel,
    texts: Sequence[Int32s],
    mixing: Mixing,
    folder: Path,
    *,
    tokens: int,
    seed: int = 0,
) -> Generation:
    """Let a model continue the beginnings of the first texts by so many tokens, with its memory and without.

    Of the texts, given by their tokens, those that are long enough to be compared with come first. Keys and neighbours
    go into the folder; the seed is that of the sampling.

    Raises:
        QueryError: no text is as long as a prompt, or the model cannot read so many tokens.
    """
    info, length = datastore.info, PROMPT + tokens
    chosen = sorted((text for text in texts if len(text) >= PROMPT), key=lambda text: len(text) < length)[:PROMPTS]
    if not chosen:
        raise QueryError(f"no text has the {PROMPT} tokens that the model begins with; give longer texts")
    limit = getattr(lm.model.config.get_text_config(), "max_position_embeddings", None)
    total = len(info.prefix) + length
    if limit is not None and total > limit:
        raise QueryError(f"{tokens} tokens after a prompt are {total}, but the model reads {limit}; generate fewer")
    reader = KnnLM(datastore, mixing)
    prompts = np.stack([text[:PROMPT] for text in chosen])
    ways = {"without": _write(lm, info.prefix, prompts, tokens, seed)}
    with reader.attach(lm.model):
        ways["with_memory"] = _write(lm, info.prefix, prompts, tokens, seed)
    if long := [text[:length] for text in chosen if len(text) >= length]:
        ways["text"] = np.stack(long)
    return Generation(
        index=info.name,
        model=info.model,
        prompts=len(prompts),
        prompt_tokens=PROMPT,
        generated_tokens=tokens,
        sampling={"top_p": TOP_P, "seed": seed},
        settings=replace(mixing, temperature=reader.temperature),
        ways={name: _measure(reader, lm, written, folder / name) for name, written in ways.items()},
    )


def _write(lm: LanguageModel, prefix: tuple[int, ...], prompts: Int32s, tokens: int, seed: int) -> Int32s:
    """Return prompts and what the model writes after them, shape (prompts, prompt and generated tokens)."""
    import torch
    from transformers import GenerationConfig

    before = np.tile(np.array(prefix, np.int64), (len(prompts), 1))
    ids = torch.from_numpy(np.concatenate([before, prompts], axis=1)).to(lm.device)
    config = GenerationConfig(  # type: ignore[no-untyped-call] # transformers leaves it without types
        do_sample=True,
        temperature=1.0,
        top_p=TOP_P,
        top_k=0,
        repetition_penalty=1.0,
        # All texts of one length: the token that ends a text is not written.
        min_new_tokens=tokens,
        max_new_tokens=tokens,
        eos_token_id=lm.end,
        pad_token_id=lm.end or 0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        written = lm.model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
    texts: Int32s = written[:, len(prefix) :].cpu().numpy().astype(np.int32)
    return texts


def _measure(reader: KnnLM, lm: LanguageModel, texts: Int32s, folder: Path) -> Continuations:
    """Measure texts of one length that begin with a prompt, shape (texts, tokens)."""
    readings = read_texts(lm, reader.datastore.info, list(texts), folder)
    neighbourhoods = gather(reader.datastore, readings, replace(reader.mixing, gate=None, pointers=None), folder)
    retrieval, model = retrieval_entropy(neighbourhoods, reader.temperature), readings.entropy
    bounds = np.unique(np.linspace(0, texts.shape[1] - PROMPT, _RANGES + 1).astype(int)).tolist()
    entropies: list[Entropies] = []
    for start, stop in pairwise(bounds):
        rows = (readings.place >= PROMPT + start) & (readings.place < PROMPT + stop)
        means = float(retrieval[rows].mean()), float(model[rows].mean(dtype=np.float64))
        entropies.append({"from": start, "to": stop, "retrieval_entropy": means[0], "model_entropy": means[1]})
    return Continuations(
        texts=len(texts),
        distinct={n: distinct(texts[:, PROMPT:], n) for n in (1, 2, 3)},
        repeated_4grams_percent=repeated(texts, 4, start=PROMPT) * 100,
        by_position=entropies,
    )


def retrieval_entropy(neighbourhoods: Neighbourhoods, temperature: float) -> Float64s:
    """Return the entropy of p_knn in front of every token, in nats, shape (n,); 0 where there are no neighbours."""
    result = np.zeros(len(neighbourhoods.nearest))
    for part in batches(*neighbourhoods.distances.shape):
        distances, values = neighbourhoods.distances[part], neighbourhoods.values[part]
        rows, _, logs = token_log_probabilities(distances, values, temperature)
        result[part] = np.bincount(rows, -np.exp(logs) * logs, minlength=len(distances))
    return result


def distinct(texts: Int32s, n: int) -> float:
    """Return the part of all n-grams of texts, shape (texts, tokens), that is different; 0 where they are too short."""
    ngrams = _ngrams(texts, n).reshape(-1, n)
    return len(np.unique(ngrams, axis=0)) / len(ngrams) if len(ngrams) else 0.0


def repeated(texts: Int32s, n: int, *, start: int) -> float:
    """Return the part of the n-grams from the token `start` on that occur earlier in the same text."""
    seen = []
    for ngrams in _ngrams(texts, n):
        _, first, inverse = np.unique(ngrams, axis=0, return_index=True, return_inverse=True)
        seen.append(first[inverse.reshape(-1)][start:] < np.arange(start, len(ngrams)))
    every = np.concatenate(seen)
    return float(every.mean()) if len(every) else 0.0


def _ngrams(texts: Int32s, n: int) -> Int32s:
    """Return all n-grams, shape (texts, places, n)."""
    if texts.shape[1] < n:
        return np.zeros((len(texts), 0, n), np.int32)
    return np.lib.stride_tricks.sliding_window_view(texts, n, axis=1)
