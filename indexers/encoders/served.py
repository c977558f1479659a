"""An encoder behind an HTTP server that speaks OpenAI's protocol: vLLM, TEI, Ollama, or a provider."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.encoders.base import Encoded, EncodeStats, Window
from mnemodex.indexers.models.openai_client import open_client
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from mnemodex.schemas.embedding import ServedEmbedding


class ServedEncoder:
    """Asks a server for vectors, several requests at once. See `TextEncoder`.

    Rate limits (429), failures of the server (5xx) and lost connections are tried again by OpenAI's client, with
    growing pauses. Vectors are put in the order of the texts by the `index` that the server gives each.

    Args:
        spec: the server, the model and how it is used.
        threads: not used: the server has its own.

    Raises:
        MissingExtraError: the extra `llm` is not installed.
        ModelError: the environment variable holds what no key can be.
    """

    def __init__(self, spec: ServedEmbedding, *, threads: int | None = None) -> None:
        self.spec = spec
        self.stats = EncodeStats()
        self._client = open_client(
            spec.base_url, api_key_env=spec.api_key_env, timeout=spec.timeout, max_retries=spec.max_retries
        )

    @cached_property
    def dimension(self) -> int:
        """See `TextEncoder`; asks the server for one vector where the settings do not say."""
        return self.spec.dimensions or int(self._ask(["dimension"])[0].shape[1])

    @property
    def max_length(self) -> None:
        """See `TextEncoder`: a server refuses what is too long."""

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `TextEncoder`."""
        return self.encode([self.spec.query_prefix + text for text in texts])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `TextEncoder`."""
        result = np.empty((len(texts), self.dimension), np.float32)
        for part in self.stream([Window(texts)]):
            result[part.rows] = part.vectors
        return result

    def stream(self, windows: Iterable[Window]) -> Iterator[Encoded]:
        """See `TextEncoder`.

        Raises:
            ModelError: the server cannot be reached, refuses, or answers in another form.
        """
        with ThreadPoolExecutor(self.spec.concurrency) as pool:
            for number, (texts, done) in enumerate(windows):
                # Batches are those of the whole window, so that a server is asked the same after an interruption.
                batches = np.split(np.arange(len(texts)), range(self.spec.batch, len(texts), self.spec.batch))
                batches = [rows for rows in batches if len(rows) and (done is None or not done[rows].all())]
                asked = [pool.submit(self._ask, [texts[row] for row in rows]) for rows in batches]
                try:
                    for rows, future in zip(batches, asked, strict=True):
                        vectors, tokens = future.result()
                        self._check(vectors.shape[1])
                        self.stats.tokens += tokens
                        yield Encoded(number, rows, vectors)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
                self.stats.texts += len(texts)

    def _check(self, numbers: int) -> None:
        """Refuse vectors of another length than the ones before, or than was asked for."""
        if self.spec.dimensions not in (None, numbers):
            msg = (
                f"{self.spec.base_url}: it gives vectors of {numbers} numbers, although it is asked for "
                f"{self.spec.dimensions}; correct dimensions, or leave it out"
            )
            raise ModelError(msg)
        if numbers != self.dimension:
            raise self._malformed(f"vectors of {numbers} numbers after ones of {self.dimension}")

    def _ask(self, texts: list[str]) -> tuple[NDArray[np.float32], int]:
        """Return the vectors of the texts, and the tokens that the server counted."""
        import openai

        # A server takes no empty text, and a space has as much in it.
        given: dict[str, Any] = {"input": [text or " " for text in texts], "model": self.spec.model}
        if self.spec.dimensions is not None:
            given["dimensions"] = self.spec.dimensions
        try:
            answer = self._client.embeddings.create(**given, encoding_format="float")
        except openai.APITimeoutError as error:
            msg = f"{self.spec.base_url}: no answer within {self.spec.timeout:g} s; raise embed timeout or lower batch"
            raise ModelError(msg) from error
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            msg = f"{self.spec.base_url}: cannot be reached ({cause}); start the server, or correct base_url"
            raise ModelError(msg) from error
        except openai.APIStatusError as error:
            raise self._refused(error) from error
        except (openai.OpenAIError, ValueError) as error:
            raise self._malformed(str(error)) from error
        tokens = getattr(getattr(answer, "usage", None), "prompt_tokens", None)
        return self._vectors(answer, len(texts)), tokens if isinstance(tokens, int) else 0

    def _vectors(self, answer: Any, count: int) -> NDArray[np.float32]:
        """Return the vectors in the order of the texts.

        Raises:
            ModelError: some are missing, given twice, or of different lengths.
        """
        data = getattr(answer, "data", None)
        items = data if isinstance(data, list) else []
        indexes = [getattr(item, "index", None) for item in items]
        if sorted(indexes, key=str) != sorted(range(count), key=str):
            raise self._malformed(f"{len(items)} vectors with the indexes {indexes[:5]} for {count} texts")
        ordered = sorted(items, key=lambda item: int(item.index))
        try:
            with np.errstate(over="ignore"):
                vectors = np.array([getattr(item, "embedding", None) for item in ordered], np.float32)
        except (ValueError, TypeError) as error:
            raise self._malformed(str(error)) from error
        if vectors.ndim != 2 or not vectors.shape[1] or not np.isfinite(vectors).all():
            raise self._malformed("a vector is no list of finite numbers")
        if self.spec.normalize:
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
        return vectors

    def _malformed(self, what: str) -> ModelError:
        return ModelError(
            f"{self.spec.base_url}: its answer is not of the protocol of /v1/embeddings "
            f"({' '.join(what.split())[:300]}); check base_url and model"
        )

    def _refused(self, error: Any) -> ModelError:
        said = f"{self.spec.base_url} answers {error.status_code} ({' '.join(str(error).split())[:300]})"
        if error.status_code in (401, 403):
            return ModelError(f"{said}; put its key into the environment variable {self.spec.api_key_env}")
        if error.status_code == 404:
            return ModelError(f"{said}; check base_url, which often ends in /v1, and model {self.spec.model!r}")
        times = f"asked {self.spec.max_retries + 1} times"
        if error.status_code == 429:
            return ModelError(f"{said}, {times}; lower concurrency or raise max_retries")
        if error.status_code >= 500:
            return ModelError(f"{said}, {times}; look at the server's log")
        return ModelError(f"{said}; a text may be too long for the model: use smaller chunks")
