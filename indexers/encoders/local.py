"""Encoders in this process: any sentence-transformers or transformers model, in length-bucketed batches."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from mnemodex.indexers.encoders.base import Encoded, EncodeStats, TextEncoder
from mnemodex.indexers.models.locate import locate
from mnemodex.indexers.text import length_buckets, one_ahead, pad
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.indexers.encoders.base import Window
    from mnemodex.schemas.sections import Embedding

_CPU_TOKENS = 4096
_GPU_TOKENS = 65536
"""Padded tokens a batch: about what fills a CPU's caches, or a GPU's multiprocessors, with an encoder of base size."""


class Encoder(TextEncoder):
    """An embedding model on one device, loaded once; one that is not there, or no encoder, is a `ModelError`."""

    def __init__(self, settings: Embedding, *, threads: int | None = None) -> None:
        # Rust's tokenizer threads and a later fork of the process do not go together; the tokenizer is called from one
        # thread here.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        import torch
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call] # transformers leaves it without types
        if threads is not None:
            torch.set_num_threads(threads)
        self.settings: Embedding = settings
        self.stats = EncodeStats()
        self._torch = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        path = locate(settings.model)
        try:
            self._model: Any = SentenceTransformer(
                str(path),
                device=self._device,
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"dtype": self._dtype()},
            )
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise ModelError(
                f"embed model {settings.model!r} ({path}) cannot be loaded as an encoder: {error}"
            ) from error
        if settings.max_length is not None:
            self._model.max_seq_length = settings.max_length
        # Once and for all: a tokenizer that works in one thread cannot be set in another.
        self._tokenizer = self._model.tokenizer.backend_tokenizer
        self._tokenizer.no_padding()
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
        return int(self._model.get_embedding_dimension())

    @property
    @override
    def max_length(self) -> int:
        # Special tokens are counted too.
        return int(self._model.max_seq_length or self._model.tokenizer.model_max_length)

    @override
    def stream(self, windows: Iterable[Window]) -> Iterator[Encoded]:
        # One thread tokenises a window by one call while the model works on the one before.
        with ThreadPoolExecutor(1) as pool:
            begun = ((window, pool.submit(self._tokenize, list(window.texts))) for window in windows)
            for number, (window, encodings) in enumerate(one_ahead(begun)):
                yield from self._encode(number, window, encodings.result())

    def _tokenize(self, texts: list[str]) -> list[Any]:
        return list(self._tokenizer.encode_batch(texts))

    def _encode(self, number: int, window: Window, encodings: list[Any]) -> Iterator[Encoded]:
        torch = self._torch
        lengths = np.fromiter((len(item.ids) for item in encodings), np.int64, len(encodings))
        truncated = np.fromiter((bool(item.overflowing) for item in encodings), np.bool_, len(encodings))
        for rows in length_buckets(lengths, max_tokens=self._max_tokens):
            # Batches are those of the whole window, so that vectors are the same after an interruption.
            if window.done is not None and window.done[rows].all():
                continue
            features = self._features(encodings, lengths, rows)
            with torch.inference_mode():
                vectors = self._model(features)["sentence_embedding"].float()
                if self.settings.normalize:
                    vectors = torch.nn.functional.normalize(vectors, dim=1)
            self.stats.padded += int(features["input_ids"].numel())
            yield Encoded(number, rows, vectors.cpu().numpy(), truncated[rows])
        self.stats.texts += len(encodings)
        self.stats.tokens += int(lengths.sum())

    def _features(self, encodings: list[Any], lengths: Int64s, rows: Int64s) -> dict[str, Any]:
        torch, tokenizer = self._torch, self._model.tokenizer
        tokens, width = [encodings[text].ids for text in rows], max(int(lengths[rows].max()), 1)
        ids, mask = pad(tokens, width, left=tokenizer.padding_side == "left", fill=tokenizer.pad_token_id or 0)
        features = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        if "token_type_ids" in tokenizer.model_input_names:
            features["token_type_ids"] = torch.zeros_like(features["input_ids"])
        return {name: tensor.to(self._device, non_blocking=True) for name, tensor in features.items()}
