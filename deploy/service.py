"""What one process serves: memories, who may ask them, and the threads that answer."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from mnemodex.deploy.memories import Memories
from mnemodex.deploy.operations import operations_of
from mnemodex.deploy.reasons import shown
from mnemodex.schemas.errors import QueryError, RequestTimeoutError

if TYPE_CHECKING:
    from mnemodex.deploy.access import Access
    from mnemodex.deploy.operations.base import Form
    from mnemodex.deploy.settings import ServerSettings

_THREADS = 8


class Service:
    """Answers operations, from HTTP and from tools of assistants.

    Attributes:
        settings: the server's.
        memories: that are served.
        operations: that are answered, by their names.
        ready: whether all memories are open and warm.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.memories = Memories(settings.memories, settings.limits)
        self.operations = operations_of(settings)
        self.ready = False
        self._threads = ThreadPoolExecutor(_THREADS, "operation")

    def warm(self) -> None:
        """Open and search every index once; the service is ready then."""
        self.memories.warm()
        self.ready = True

    async def run(self, name: str, form: Form, access: Access) -> dict[str, Any]:
        """Return the answer of an operation.

        Raises:
            MnemodexError: it is refused or fails, or takes longer than a request may.
        """
        served = self.memories.get(form.memory, access)
        loop = asyncio.get_running_loop()
        answer = loop.run_in_executor(self._threads, self.operations[name].run, served, form, access)
        seconds = self.settings.limits.seconds
        try:
            return shown(await asyncio.wait_for(answer, seconds), access)
        except QueryError as error:
            raise access.shown(error) from error
        except TimeoutError as error:
            raise RequestTimeoutError(f"{name}: took more than {seconds:g} seconds. Ask for less, or later") from error
