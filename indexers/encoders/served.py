"""An encoder behind an HTTP server that speaks OpenAI's protocol: vLLM, TEI, Ollama, or a provider."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.encoders.base import Encoded, EncodeStats, Window
from mnemodex.indexers.models import need
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
    """

    def __init__(self, spec: ServedEmbedding, *, threads: int | None = None) -> None:
        need("openai", extra="llm")
        import openai

        self.spec = spec
        self.stats = EncodeStats()
        self._client = openai.OpenAI(
            base_url=spec.base_url,
            # The client refuses to start without a key, although the server may not ask for one.
            api_key=os.environ.get(spec.api_key_env) or "none",
            timeout=spec.timeout,
            max_retries=spec.max_retries,
        )

    @cached_property
    def dimension(self) -> int:
        """See `TextEncoder`; asks the server for one vector."""
        return int(self._ask(["dimension"]).shape[1])

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
                missing = np.arange(len(texts)) if done is None else np.flatnonzero(~done)
                batches = [missing[at : at + self.spec.batch] for at in range(0, len(missing), self.spec.batch)]
                asked = [pool.submit(self._ask, [texts[row] for row in rows]) for rows in batches]
                try:
                    for rows, future in zip(batches, asked, strict=True):
                        yield Encoded(number, rows, future.result())
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
                self.stats.texts += len(texts)

    def _ask(self, texts: list[str]) -> NDArray[np.float32]:
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
        return self._vectors(answer, len(texts))

    def _vectors(self, answer: Any, count: int) -> NDArray[np.float32]:
        """Return the vectors in the order of the texts.

        Raises:
            ModelError: some are missing, given twice, or of different lengths.
        """
        data = getattr(answer, "data", None) or []
        found = {getattr(item, "index", None): getattr(item, "embedding", None) for item in data}
        if sorted(found, key=str) != sorted(range(count), key=str) or len(data) != count:
            raise self._malformed(f"{len(data)} vectors with the indexes {list(found)[:5]} for {count} texts")
        try:
            vectors = np.array([found[number] for number in range(count)], np.float32)
        except (ValueError, TypeError) as error:
            raise self._malformed(str(error)) from error
        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise self._malformed("a vector is no list of finite numbers")
        usage = getattr(answer, "usage", None)
        self.stats.tokens += int(getattr(usage, "prompt_tokens", None) or 0)
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
        if error.status_code == 429:
            return ModelError(
                f"{said}, asked {self.spec.max_retries + 1} times; lower concurrency or raise max_retries"
            )
        return ModelError(f"{said}; a text may be too long for the model: use smaller chunks")
