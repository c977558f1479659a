"""The client of servers that speak OpenAI's protocol."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mnemodex.indexers.models.locate import need
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from openai import OpenAI


def open_client(base_url: str, *, api_key_env: str, timeout: float, max_retries: int) -> OpenAI:
    """Return a client of a server.

    Args:
        base_url: the server, with its `/v1`.
        api_key_env: the environment variable that holds the key.
        timeout: seconds that a request may take.
        max_retries: how often a request is repeated where the server is busy or fails.

    Raises:
        MissingExtraError: the extra `llm` is not installed.
        ModelError: the variable holds what no key can be.
    """
    need("openai", extra="llm")
    import openai

    # The client refuses to start without a key, although the server may not ask for one.
    key = _key(api_key_env) or "none"
    return openai.OpenAI(base_url=base_url, api_key=key, timeout=timeout, max_retries=max_retries)


def _key(variable: str) -> str:
    # A key that was read from a file often ends with a line break.
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        # The client would say so too, with the key in its message.
        msg = (
            f"the environment variable {variable} holds what no key can be, a line break or letters beyond ASCII; set "
            "it to the key alone"
        )
        raise ModelError(msg)
    return key
