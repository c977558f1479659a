"""An encoder behind an HTTP server that speaks OpenAI's protocol: vLLM, TEI, Ollama, or a provider."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from mnemodex.indexers.encoders.base import Encoded, EncodeStats, TextEncoder, normalize
from mnemodex.indexers.models.server import Client, RequestFailedError, shorten
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mnemodex.indexers.arrays import Float32s
    from mnemodex.indexers.encoders.base import Window
    from mnemodex.schemas.sections import ServedEmbedding


_MOST = 256 << 20
"""Bytes of an answer: 2,048 vectors of 4,096 numbers, which is more than a request has, are 180 MB."""


class ServedEncoder(TextEncoder):
    """A model behind a server, which is asked by several requests at once.

    Rate limits (429), failures of the server (5xx) and lost connections are tried again by OpenAI's client, with
    growing pauses. Vectors are put in the order of the texts by the `index` that the server gives each. A server that
    cannot be reached, refuses, or answers in another form is a `ModelError`; without the extra `llm` it is a
    `MissingExtraError`.
    """

    def __init__(self, settings: ServedEmbedding, *, threads: int | None = None) -> None:
        self.settings: ServedEmbedding = settings
        self.stats = EncodeStats()
        self._client = Client(settings, most=_MOST)

    @cached_property
    @override
    def dimension(self) -> int:
        return self.settings.dimensions or int(self._ask(["dimension"])[0].shape[1])

    def ask_once(self) -> None:
        """Ask for one vector, with all settings.

        Raises:
            ModelError: there is none, or it is not as the settings say.
        """
        self._check_length(self._ask(["dimension"])[0].shape[1])

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @override
    def stream(self, windows: Iterable[Window]) -> Iterator[Encoded]:
        with self._client.pool(self.settings.concurrency) as pool:
            for number, (texts, done) in enumerate(windows):
                # Batches are those of the whole window, so that a server is asked the same after an interruption.
                batches = np.split(np.arange(len(texts)), range(self.settings.batch, len(texts), self.settings.batch))
                batches = [rows for rows in batches if len(rows) and (done is None or not done[rows].all())]
                requests = [pool.submit(self._ask, [texts[row] for row in rows]) for rows in batches]
                for rows, request in zip(batches, requests, strict=True):
                    vectors, tokens = request.result()
                    self._check_length(vectors.shape[1])
                    self.stats.tokens += tokens
                    yield Encoded(number, rows, vectors)
                self.stats.texts += len(texts)

    def _check_length(self, numbers: int) -> None:
        """Refuse vectors of another length than the ones before, or than was asked for."""
        if self.settings.dimensions not in (None, numbers):
            raise ModelError(
                f"{self.settings.base_url}: it gives vectors of {numbers} numbers, although it is asked for "
                f"{self.settings.dimensions}; correct dimensions, or leave it out"
            )
        if numbers != self.dimension:
            raise self._malformed(f"vectors of {numbers} numbers after ones of {self.dimension}")

    def _ask(self, texts: list[str]) -> tuple[Float32s, int]:
        """Return the vectors of the texts, and the tokens that the server counted."""
        # A server takes no empty text, and a space has as much in it.
        request: dict[str, Any] = {"input": [text or " " for text in texts], "model": self.settings.model}
        if self.settings.dimensions is not None:
            request["dimensions"] = self.settings.dimensions
        try:
            answer = self._client.post("embeddings", {**request, "encoding_format": "float"})
        except RequestFailedError as error:
            raise ModelError(f"{error}{_remedy(error)}") from error
        except ValueError as error:
            raise self._malformed(str(error)) from error
        usage = answer.get("usage") if isinstance(answer, dict) else None
        tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        return self._vectors(answer, len(texts)), tokens if isinstance(tokens, int) else 0

    def _vectors(self, answer: Any, count: int) -> Float32s:
        """Return the vectors in the order of the texts; refuse missing ones, doubles and different lengths."""
        data = answer.get("data") if isinstance(answer, dict) else None
        items = [item if isinstance(item, dict) else {} for item in data] if isinstance(data, list) else []
        indexes = [item.get("index") for item in items]
        if sorted(indexes, key=str) != sorted(range(count), key=str):
            raise self._malformed(f"{len(items)} vectors with the indexes {indexes[:5]} for {count} texts")
        ordered = sorted(items, key=lambda item: int(item["index"]))
        try:
            with np.errstate(over="ignore"):
                vectors = np.array([item.get("embedding") for item in ordered], np.float32)
        except (ValueError, TypeError) as error:
            raise self._malformed(shorten(error)) from error
        if vectors.ndim != 2 or not vectors.shape[1] or not np.isfinite(vectors).all():
            raise self._malformed("a vector is no list of finite numbers")
        return normalize(vectors) if self.settings.normalize else vectors

    def _malformed(self, reason: str) -> ModelError:
        return ModelError(
            f"{self.settings.base_url}: its answer is not of the protocol of /v1/embeddings ({reason}); check base_url "
            "and model"
        )


def _remedy(error: RequestFailedError) -> str:
    if error.late:
        return "; raise embed timeout or lower batch"
    if error.concerns_all or error.status == 200:
        return ""
    return (
        "; look at the server's log"
        if (error.status or 0) >= 500
        else ("; a text may be too long for the model: use smaller chunks")
    )
