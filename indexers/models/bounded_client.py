"""The HTTP client of OpenAI's client, with a time and a size for a whole answer."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from mnemodex.indexers.models.events import WATCHED


def bounded_client(seconds: float, most: int) -> Any:
    """Return an HTTP client that reads an answer within a time, and little more than so many bytes of it."""
    import openai

    class BoundedClient(openai.DefaultAsyncHttpxClient):
        async def send(self, request: Any, **options: Any) -> Any:
            content, watch = bytearray(), WATCHED.get()
            try:
                async with asyncio.timeout(seconds):
                    response = await super().send(request, **{**options, "stream": True})
                    try:
                        async for part in response.aiter_bytes():
                            content += part
                            if watch is not None and response.status_code == 200:
                                watch.take(part)
                            if len(content) > most:
                                break
                    finally:
                        await response.aclose()
            except TimeoutError as error:
                # Only its own errors are tried again; httpx or its successor, as the version has it.
                library: Any = sys.modules[type(request).__module__.partition(".")[0]]
                raise library.ReadTimeout(str(error), request=request) from error
            coded = ("content-encoding", "content-length", "transfer-encoding")
            headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in coded]
            return type(response)(response.status_code, headers=headers, content=bytes(content), request=request)

    return BoundedClient(follow_redirects=False, timeout=None)
