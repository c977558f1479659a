"""A server that speaks OpenAI's embedding protocol over HTTP, and does what tests tell it to."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from chat_server import ChatServer, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MODEL = "small"


def vector_of(text: str, dimension: int = 8) -> NDArray[np.float32]:
    """The vector of a text: always the same, another for every text, and not of length 1."""
    return np.random.default_rng(zlib.crc32(text.encode())).normal(size=dimension).astype(np.float32)


class EmbeddingServer(ChatServer):
    """`with EmbeddingServer() as server: ServedEncoder(ServedEmbedding(base_url=server.url, model=MODEL, …))`.

    Args:
        script: replies to the first requests, one each; after them texts get their vectors.
        key: the key it asks for; None for no key.
        dimension: numbers of a vector, where a request does not say.
        most_texts: of one request; more are answered 400.
        change: what becomes of the list `data` of an answer before it is sent.
        delay: seconds that an answer takes.
        usage: whether answers tell how many tokens (words) they took.
    """

    def __init__(
        self,
        *,
        script: tuple[Reply, ...] = (),
        key: str | None = None,
        dimension: int = 8,
        most_texts: int = 2048,
        change: Callable[[list[dict[str, Any]]], Any] = lambda data: data,
        delay: float = 0.0,
        usage: bool = True,
    ) -> None:
        super().__init__(script=script, key=key)
        self._dimension, self._most_texts, self._change = dimension, most_texts, change
        self._delay, self._usage = delay, usage

    @property
    def texts(self) -> list[list[str]]:
        """The texts of each request so far."""
        return [request["input"] for request in self.requests]

    def _choose(self, path: str, key: str, request: dict[str, Any], scripted: Reply | None) -> Reply:
        if path != "/v1/embeddings":
            return Reply(status=404, message="no such path")
        if self._key is not None and key != f"Bearer {self._key}":
            return Reply(status=401, message="wrong key")
        if scripted is not None:
            return scripted
        if request["model"] != MODEL:
            return Reply(status=404, message=f"the model {request['model']} does not exist")
        texts = request["input"]
        if not 0 < len(texts) <= self._most_texts or not all(texts):
            return Reply(status=400, message=f"input is of {len(texts)} texts, or one is empty", delay=self._delay)
        dimension = request.get("dimensions", self._dimension)
        data = [
            {"object": "embedding", "index": number, "embedding": vector_of(text, dimension).tolist()}
            for number, text in enumerate(texts)
        ]
        words = sum(len(text.split()) for text in texts)
        usage = {"usage": {"prompt_tokens": words, "total_tokens": words}} if self._usage else {}
        answer = {"object": "list", "model": MODEL, "data": self._change(data), **usage}
        return Reply(body=json.dumps(answer), delay=self._delay)
