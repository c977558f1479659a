"""Clients of servers that speak OpenAI's protocol, and what their failures mean."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from mnemodex.indexers.models.locate import need
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from openai import APIConnectionError, APIStatusError, OpenAI

    from mnemodex.schemas.embedding import ServedEmbedding


class Server(NamedTuple):
    """A model of a server; the settings of a served encoder have the same fields.

    Attributes:
        base_url: the server, with its `/v1`.
        api_key_env: the environment variable that holds the key.
        timeout: seconds that a request may take.
        max_retries: how often a request is repeated where the server is busy or fails.
    """

    base_url: str
    model: str
    api_key_env: str
    timeout: float
    max_retries: int


def open_client(server: Server | ServedEmbedding) -> OpenAI:
    """Return a client of a server.

    Raises:
        MissingExtraError: the extra `llm` is not installed.
        ModelError: the environment variable holds what no key can be.
    """
    need("openai", extra="llm")
    import openai

    # A key that was read from a file often ends with a line break.
    key = os.environ.get(server.api_key_env, "").strip()
    if not (key.isascii() and key.isprintable()):
        # The client would say so too, with the key in its message.
        raise ModelError(
            f"the environment variable {server.api_key_env} holds what no key can be, a line break or letters beyond "
            "ASCII; set it to the key alone"
        )
    return openai.OpenAI(
        base_url=server.base_url,
        # The client refuses to start without a key, although the server may not ask for one.
        api_key=key or "none",
        timeout=server.timeout,
        max_retries=server.max_retries,
    )


def describe_failure(error: APIConnectionError | APIStatusError, server: Server | ServedEmbedding) -> str:
    """Return a message that says why a server does not answer, and what to do where that is known."""
    import openai

    if not isinstance(error, openai.APIStatusError):
        return f"{server.base_url}: cannot be reached ({error.__cause__ or error}); start the server, or check base_url"
    status = error.status_code
    failure = f"{server.base_url} answers {status} ({shorten(error)})"
    if status in (401, 403):
        return f"{failure}; put its key into the environment variable {server.api_key_env}"
    if status == 404:
        return f"{failure}; check base_url, which often ends in /v1, and model {server.model!r}"
    if status == 429 or status >= 500:
        failure = f"{failure}, asked {server.max_retries + 1} times"
    return f"{failure}; lower concurrency or raise max_retries, or check the account" if status == 429 else failure


def shorten(error: Exception) -> str:
    """Return the first words of an error, on one line."""
    return " ".join(str(error).split())[:300]
