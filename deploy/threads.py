"""Threads for slow work, apart from those that answer searches."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from mnemodex.schemas.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future


class BoundedThreads(ThreadPoolExecutor):
    """A pool that takes so many calls and refuses others.

    Args:
        name: what it does, for errors.
        running: calls at a time.
        waiting: further calls, which begin when others have ended.
    """

    def __init__(self, name: str, *, running: int, waiting: int) -> None:
        super().__init__(running, name)
        self._name = name
        self._room = threading.BoundedSemaphore(running + waiting)

    @override
    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As `ThreadPoolExecutor.submit`.

        Raises:
            BusyError: as many calls as may run and wait.
        """
        if not self._room.acquire(blocking=False):
            raise BusyError(f"{self._name}: too many requests run and wait. Ask again later")
        try:
            future = super().submit(call, *args, **kwargs)
        except BaseException:
            self._room.release()
            raise
        future.add_done_callback(lambda _: self._room.release())
        return future
