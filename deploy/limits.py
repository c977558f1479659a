"""How often a key may ask."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from mnemodex.schemas.errors import RateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnemodex.deploy.access import Access


class Rates:
    """A bucket of tokens for each key, which fills at its rate and holds those of one second, one at least.

    Replicas share nothing: each gives a key its part of the rate, and a proxy that spreads requests evenly lets
    through the whole.

    Args:
        replicas: processes that answer.
        clock: returns seconds.
    """

    def __init__(self, replicas: int = 1, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._replicas = replicas
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, access: Access) -> None:
        """Take a token for a request.

        Raises:
            RateError: there is none; it says when there will be one.
        """
        if access.rate is None:
            return
        rate = access.rate / self._replicas
        most = max(1.0, rate)
        with self._lock:
            now = self._clock()
            tokens, then = self._buckets.get(access.key_name, (most, now))
            tokens = min(most, tokens + (now - then) * rate)
            enough = tokens >= 1
            self._buckets[access.key_name] = (tokens - 1 if enough else tokens, now)
        if not enough:
            raise RateError(
                f"key {access.key_name!r} asks more than {access.rate:g} times a second; ask later",
                retry_after=(1 - tokens) / rate,
            )
