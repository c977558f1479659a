"""Encoders in this process: any sentence-transformers or transformers model, in length-bucketed batches."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from mnemodex.indexers.encoders.base import Encoded, EncodeStats, TextEncoder
from mnemodex.indexers.encoders.configuration import Unusual
from mnemodex.indexers.encoders.modules import Features, Modules, backend, known_limit, load_usual
from mnemodex.indexers.encoders.own import with_own
from mnemodex.indexers.forks import claim_threads
from mnemodex.indexers.models.language_model import silence
from mnemodex.indexers.models.locate import locate, refuse_pickled
from mnemodex.indexers.models.tokenizers import unknown_token
from mnemodex.indexers.text import length_buckets, one_ahead, pad
from mnemodex.schemas.errors import MissingExtraError, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mnemodex.indexers.arrays import Float32s, Int64s
    from mnemodex.indexers.encoders.base import Window
    from mnemodex.schemas.sections import Embedding

_CPU_TOKENS = 4096
_GPU_TOKENS = 65536
"""Padded tokens a batch: about what fills a CPU's caches, or a GPU's multiprocessors, with an encoder of base size."""
_FEW_TOKENS = 128
"""Padded tokens that one thread computes, as those of a question: several of torch wait for each other after each step,
on busy cores ten times as long as they compute."""


class Encoder(TextEncoder):
    """An embedding model on one device, loaded once; one that is not there, or no encoder, is a `ModelError`."""

    def __init__(self, settings: Embedding, *, threads: int | None = None) -> None:
        # Rust's tokenizer threads and a later fork of the process do not go together; the tokenizer is called from one
        # thread here.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        self.settings: Any = with_own(settings)
        self.stats = EncodeStats()
        self._torch = torch
        self._threads = torch.get_num_threads()
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        path = locate(settings.model)
        try:
            refuse_pickled(path)
            with silence():
                self._modules = _load(path, self._device, self._dtype())
        except MissingExtraError:
            raise
        except Exception as error:
            # Three libraries raise what they like at a damaged or strange model.
            raise ModelError(
                f"embed model {settings.model!r} ({path}) cannot be loaded as an encoder: {error}"
            ) from error
        if settings.max_length is not None:
            self._modules.max_length = settings.max_length
        # Once and for all: a tokenizer that works in one thread cannot be set in another.
        self._tokenizer = self._modules.tokenizer
        self._unknown = unknown_token(self._tokenizer)
        self._tokenizer.no_padding()
        if self.max_length is None:
            self._tokenizer.no_truncation()
        else:
            self._tokenizer.enable_truncation(self.max_length)
        self._max_tokens = _GPU_TOKENS if self._device == "cuda" else _CPU_TOKENS

    def _dtype(self) -> Any:
        torch = self._torch
        if self.settings.dtype != "auto":
            return getattr(torch, self.settings.dtype)
        if self._device == "cpu":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16

    @property
    @override
    def dimension(self) -> int:
        return self._modules.dimension

    @property
    @override
    def max_length(self) -> int | None:
        # Special tokens are counted too.
        return self._modules.max_length

    @override
    def encode(self, texts: Sequence[str]) -> Float32s:
        if self._device != "cpu" or self._threads == 1:
            return super().encode(texts)
        claim_threads()
        encodings = self._tokenize(list(texts))
        lengths = _lengths(encodings)
        share = max(-(-int(lengths.sum()) // self._threads), _FEW_TOKENS)
        batches = list(length_buckets(lengths, max_tokens=min(share, self._max_tokens)))
        vectors = np.empty((len(texts), self.dimension), np.float32)
        # Each thread has batches of its own, and waits for the others once.
        each = max(self._threads // max(len(batches), 1), 1)
        work = self._pool.map if len(batches) > 1 else map
        for rows, part in zip(
            batches, work(lambda rows: self._forward(encodings, lengths, rows, each), batches), strict=True
        ):
            vectors[rows] = part
            self.stats.padded += len(rows) * int(lengths[rows].max())
        self._count(texts, encodings, lengths)
        return vectors

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, "encode")

    @override
    def stream(self, windows: Iterable[Window]) -> Iterator[Encoded]:
        claim_threads()
        # One thread tokenises a window by one call while the model works on the one before.
        with ThreadPoolExecutor(1) as pool:
            begun = ((window, pool.submit(self._tokenize, list(window.texts))) for window in windows)
            for number, (window, encodings) in enumerate(one_ahead(begun)):
                yield from self._encode(number, window, encodings.result())

    def _tokenize(self, texts: list[str]) -> list[Any]:
        return list(self._tokenizer.encode_batch(texts, add_special_tokens=self._modules.special_tokens))

    def _encode(self, number: int, window: Window, encodings: list[Any]) -> Iterator[Encoded]:
        lengths = _lengths(encodings)
        truncated = np.fromiter((bool(item.overflowing) for item in encodings), np.bool_, len(encodings))
        for rows in length_buckets(lengths, max_tokens=self._max_tokens):
            # Batches are those of the whole window, so that vectors are the same after an interruption.
            if window.done is not None and window.done[rows].all():
                continue
            vectors = self._forward(encodings, lengths, rows, self._threads)
            self.stats.padded += len(rows) * int(lengths[rows].max())
            yield Encoded(number, rows, vectors, truncated[rows])
        self._count(window.texts, encodings, lengths)

    def _forward(self, encodings: list[Any], lengths: Int64s, rows: Int64s, threads: int) -> Float32s:
        """Return the vectors of a batch, computed by so many threads of torch, or by one where it has few tokens."""
        torch = self._torch
        features = self._features(encodings, lengths, rows)
        few = features["input_ids"].numel() <= _FEW_TOKENS
        with torch.inference_mode(), _threads(1 if few else threads):
            vectors = self._modules.forward(features).float()
            if self.settings.normalize:
                vectors = torch.nn.functional.normalize(vectors, dim=1)
        array: Float32s = vectors.cpu().numpy()
        return array

    def _count(self, texts: Sequence[str], encodings: list[Any], lengths: Int64s) -> None:
        self.stats.texts += len(encodings)
        self.stats.tokens += int(lengths.sum())
        self._count_characters(texts, encodings)

    def _count_characters(self, texts: Sequence[str], encodings: list[Any]) -> None:
        for text, encoding in zip(texts, encodings, strict=True):
            # A special token ends a text that was cut.
            end = encoding.token_to_chars(len(encoding.ids) - 2) if encoding.overflowing else None
            self.stats.characters += end[1] if end else len(text)
            if self._unknown in encoding.ids:
                starts, ends = np.array(encoding.offsets, np.int64).T
                self.stats.unknown += int((ends - starts)[np.array(encoding.ids) == self._unknown].sum())

    def _features(self, encodings: list[Any], lengths: Int64s, rows: Int64s) -> Features:
        torch, modules = self._torch, self._modules
        tokens, width = [encodings[text].ids for text in rows], max(int(lengths[rows].max()), 1)
        ids, mask = pad(tokens, width, left=modules.pad_left, fill=modules.pad)
        tensors = (torch.from_numpy(array).to(self._device, non_blocking=True) for array in (ids, mask))
        features: Features = {"input_ids": next(tensors), "attention_mask": next(tensors)}
        if modules.token_types:
            features["token_type_ids"] = torch.zeros_like(features["input_ids"])
        return features


def _lengths(encodings: list[Any]) -> Int64s:
    return np.fromiter((len(item.ids) for item in encodings), np.int64, len(encodings))


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    """Let so many threads of torch compute; the number is one of the calling thread."""
    import torch

    before = torch.get_num_threads()
    if number == before:
        yield
        return
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _load(path: Path, device: str, dtype: Any) -> Modules:
    """Return the modules of a model, by sentence-transformers where they are not the usual ones."""
    with contextlib.suppress(Unusual):
        return load_usual(path, device=device, dtype=dtype)
    from sentence_transformers import SentenceTransformer

    model: Any = SentenceTransformer(
        str(path),
        device=device,
        trust_remote_code=False,
        local_files_only=True,
        model_kwargs={"dtype": dtype, "use_safetensors": True},
    )
    width: int | None = model.truncate_dim
    return Modules(
        backend(model.tokenizer),
        lambda features: model(features)["sentence_embedding"][:, :width],
        int(model.get_embedding_dimension()),
        known_limit(model.max_seq_length),
        pad_left=model.tokenizer.padding_side == "left",
        pad=model.tokenizer.pad_token_id or 0,
        token_types="token_type_ids" in model.tokenizer.model_input_names,
    )
