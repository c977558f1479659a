"""What a model writes with a memory and without: what perplexity does not tell.

Interpolation lowers perplexity, but text that is generated with it is no better, and the neighbours' entropy grows
faster over generated text than the model's (Wang et al., "kNN-LM Does Not Improve Open-ended Text Generation", 2023).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.retrievers.readers.knn_lm.knn_lm import KnnLM
from mnemodex.retrievers.readers.knn_lm.mixing import token_log_probabilities
from mnemodex.retrievers.readers.knn_lm_report.neighbour_files import batches
from mnemodex.retrievers.readers.knn_lm_report.neighbourhoods import gather
from mnemodex.retrievers.readers.knn_lm_report.reading import read_texts
from mnemodex.retrievers.readers.knn_lm_report.settings import to_json
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mnemodex.indexers.models.language_model import LanguageModel
    from mnemodex.retrievers.datastore import Datastore
    from mnemodex.retrievers.readers.knn_lm.mixing import Mixing
    from mnemodex.retrievers.readers.knn_lm_report.neighbourhoods import Neighbourhoods

PROMPT = 32
"""Tokens of a text that the model goes on from."""

PROMPTS = 8
TOP_P = 0.8
"""Nucleus sampling as in the paper."""

_RANGES = 4


@dataclass(frozen=True, slots=True)
class Entropies:
    """How uncertain model and memory are at some places of texts that go on from a prompt.

    Attributes:
        start: the first of the places, counted from the end of the prompt.
        stop: the place after the last.
        retrieval: mean entropy of p_knn, in nats.
        model: mean entropy of the model's own distribution, in nats.
    """

    start: int
    stop: int
    retrieval: float
    model: float

    def to_json(self) -> dict[str, Any]:
        """As `eval --json` prints it."""
        return {"from": self.start, "to": self.stop, "retrieval_entropy": self.retrieval, "model_entropy": self.model}


@dataclass(frozen=True, slots=True)
class Written:
    """Texts that go on from the prompts.

    Attributes:
        texts: how many.
        distinct: of all their 1-, 2- and 3-grams, the part that is different (Li et al., 2016).
        repeated: percentage of 4-grams that the same text has had before.
        entropies: by place.
    """

    texts: int
    distinct: tuple[float, float, float]
    repeated: float
    entropies: tuple[Entropies, ...]

    def to_json(self) -> dict[str, Any]:
        """As `eval --json` prints it."""
        return {
            "texts": self.texts,
            "distinct": {str(n): value for n, value in enumerate(self.distinct, start=1)},
            "repeated_4grams_percent": self.repeated,
            "by_position": [one.to_json() for one in self.entropies],
        }


@dataclass(frozen=True, slots=True)
class Generation:
    """What was written from the beginnings of texts.

    Attributes:
        index: the datastore's name.
        model: the language model's.
        prompts: how many beginnings.
        tokens: how many were generated of each.
        seed: of the sampling.
        mixing: the settings, with the temperature.
        ways: what was written `without` the memory and `with_memory`, and what stands in the `text` itself, where
            texts are long enough.
    """

    index: str
    model: str
    prompts: int
    tokens: int
    seed: int
    mixing: Mixing
    ways: dict[str, Written]

    def to_json(self) -> dict[str, Any]:
        """As `eval --json` prints it."""
        return {
            "index": self.index,
            "model": self.model,
            "prompts": self.prompts,
            "prompt_tokens": PROMPT,
            "generated_tokens": self.tokens,
            "sampling": {"top_p": TOP_P, "seed": self.seed},
            "settings": to_json(self.mixing),
            "ways": {name: way.to_json() for name, way in self.ways.items()},
        }


def generate(
    datastore: Datastore,
    lm: LanguageModel,
    texts: Sequence[NDArray[np.int32]],
    mixing: Mixing,
    folder: Path,
    *,
    tokens: int,
    seed: int = 0,
) -> Generation:
    """Let a model go on from the beginnings of the first texts, with its memory and without.

    Args:
        datastore: the memory.
        lm: its model.
        texts: the tokens of each; those that are long enough to be compared with come first.
        mixing: how it is mixed in.
        folder: for keys and neighbours.
        tokens: how many to generate of each text.
        seed: of the sampling.

    Raises:
        QueryError: no text is as long as a prompt, or the model cannot read so many tokens.
    """
    info = datastore.info
    chosen = sorted((text for text in texts if len(text) >= PROMPT), key=lambda text: len(text) < PROMPT + tokens)
    chosen = chosen[:PROMPTS]
    if not chosen:
        msg = f"no text has the {PROMPT} tokens that the model begins with; give longer texts"
        raise QueryError(msg)
    limit = getattr(lm.model.config.get_text_config(), "max_position_embeddings", None)
    needed = len(info.prefix) + PROMPT + tokens
    if limit is not None and needed > limit:
        msg = f"{tokens} tokens after a prompt are {needed}, but the model reads {limit} at most; generate fewer"
        raise QueryError(msg)
    reader = KnnLM(datastore, mixing)
    mixing = replace(mixing, temperature=reader.temperature)
    prompts = np.stack([text[:PROMPT] for text in chosen])
    ways = {"without": _written(lm, info.prefix, prompts, tokens, seed)}
    with reader.attach(lm.model):
        ways["with_memory"] = _written(lm, info.prefix, prompts, tokens, seed)
    long = [text[: PROMPT + tokens] for text in chosen if len(text) >= PROMPT + tokens]
    if long:
        ways["text"] = np.stack(long)
    measured = {name: _measure(datastore, lm, whole, mixing, folder / name) for name, whole in ways.items()}
    return Generation(info.name, info.model, len(prompts), tokens, seed, mixing, measured)


def _written(
    lm: LanguageModel, prefix: tuple[int, ...], prompts: NDArray[np.int32], tokens: int, seed: int
) -> NDArray[np.int32]:
    """Prompts and what the model writes after them, shape (prompts, prompt and generated tokens)."""
    import torch
    from transformers import GenerationConfig

    before = np.tile(np.array(prefix, np.int64), (len(prompts), 1))
    read = torch.from_numpy(np.concatenate([before, prompts], axis=1)).to(lm.device)
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
        written = lm.model.generate(read, attention_mask=torch.ones_like(read), generation_config=config)
    found: NDArray[np.int32] = written[:, len(prefix) :].cpu().numpy().astype(np.int32)
    return found


def _measure(
    datastore: Datastore, lm: LanguageModel, whole: NDArray[np.int32], mixing: Mixing, folder: Path
) -> Written:
    """Figures of texts of one length that begin with a prompt, shape (texts, tokens)."""
    readings = read_texts(lm, datastore.info, list(whole), folder)
    found = gather(datastore, readings, replace(mixing, gate=None, pointers=None), folder)
    assert mixing.temperature is not None  # noqa: S101 - `generate` gives one
    retrieval = retrieval_entropy(found, mixing.temperature)
    place = readings.place - PROMPT
    bounds = np.unique(np.linspace(0, whole.shape[1] - PROMPT, _RANGES + 1).astype(int)).tolist()
    entropies = []
    for start, stop in pairwise(bounds):
        here = (place >= start) & (place < stop)
        entropies.append(
            Entropies(start, stop, float(retrieval[here].mean()), float(readings.entropy[here].mean(dtype=np.float64)))
        )
    after = whole[:, PROMPT:]
    one, two, three = (distinct(after, n) for n in (1, 2, 3))
    return Written(len(whole), (one, two, three), repeated(whole, 4, start=PROMPT) * 100, tuple(entropies))


def retrieval_entropy(found: Neighbourhoods, temperature: float) -> NDArray[np.float64]:
    """The entropy of p_knn in front of every token, in nats, shape (n,); 0 where there are no neighbours."""
    result = np.zeros(len(found.nearest))
    for part in batches(*found.distances.shape):
        rows, _, logs = token_log_probabilities(found.distances[part], found.values[part], temperature)
        result[part] = np.bincount(rows, -np.exp(logs) * logs, minlength=part.stop - part.start)
    return result


def distinct(texts: NDArray[np.int32], n: int) -> float:
    """The part of all n-grams of texts, shape (texts, tokens), that is different; 0 where they are too short."""
    ngrams = _ngrams(texts, n).reshape(-1, n)
    return len(np.unique(ngrams, axis=0)) / len(ngrams) if len(ngrams) else 0.0


def repeated(texts: NDArray[np.int32], n: int, *, start: int) -> float:
    """The part of the n-grams from the token `start` on that stand further in front in the same text already."""
    seen = []
    for ngrams in _ngrams(texts, n):
        _, first, inverse = np.unique(ngrams, axis=0, return_index=True, return_inverse=True)
        seen.append(first[inverse.reshape(-1)][start:] < np.arange(start, len(ngrams)))
    every = np.concatenate(seen)
    return float(every.mean()) if len(every) else 0.0


def _ngrams(texts: NDArray[np.int32], n: int) -> NDArray[np.int32]:
    """All n-grams, shape (texts, places, n)."""
    if texts.shape[1] < n:
        return np.zeros((len(texts), 0, n), np.int32)
    return np.lib.stride_tricks.sliding_window_view(texts, n, axis=1)
