"""Searches in batches: what arrives while an index is searched is searched together afterwards."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mnemodex.deploy.operations.search import check_search, find
from mnemodex.schemas.errors import MnemodexError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from concurrent.futures import Executor

    from mnemodex.deploy.access import Access
    from mnemodex.deploy.memories import Served
    from mnemodex.deploy.operations.search import SearchForm

    Found = dict[str, Any]
    """The answer to a search."""

MOST_QUESTIONS = 128
"""Questions of a batch: encoding more at once is hardly quicker, and the first one would wait for all."""


@dataclass(eq=False)
class _Search:
    """A search that waits."""

    request: SearchForm
    where: str | None
    answer: asyncio.Future[Found]

    @property
    def likeness(self) -> Hashable:
        """What searches of one batch have in common, besides their index."""
        return self.request.k, self.where, self.request.newest, self.request.explain, self.request.kind


@dataclass(eq=False)
class _Lane:
    """The searches of one index of one snapshot, of which one batch runs at a time."""

    served: Served
    index: str
    waiting: deque[_Search] = field(default_factory=deque)
    begun: float = field(default_factory=time.monotonic)

    def next(self) -> list[_Search]:
        """Take the search that has waited longest and those like it, as far as a batch goes."""
        batch: list[_Search] = []
        others: deque[_Search] = deque()
        questions = 0
        while self.waiting:
            search = self.waiting.popleft()
            if search.answer.done():
                # Given up while it waited.
                continue
            size = questions + len(search.request.queries)
            if batch and (search.likeness != batch[0].likeness or size > MOST_QUESTIONS):
                others.append(search)
                continue
            batch.append(search)
            questions = size
        self.waiting = others
        return batch


class Batches:
    """Searches indexes in threads: one batch an index at a time, of searches alike, and no waiting for more.

    Args:
        threads: that search.
        observe: is called for each batch: with the memory, the index and the number of questions.
    """

    def __init__(self, threads: Executor, observe: Callable[[str, str, int], None]) -> None:
        self._threads = threads
        self._observe = observe
        self._lanes: dict[tuple[Served, str], _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def search(self, served: Served, request: SearchForm, access: Access) -> Found:
        """Return the answer to a search, as `operations.search.search` gives it.

        Raises:
            MnemodexError: the search is refused or fails.
        """
        where = check_search(served, request, access)
        loop = asyncio.get_running_loop()
        search = _Search(request, where, loop.create_future())
        key = (served, request.index)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(served, request.index)
            lane.waiting.append(search)
            # The loop itself keeps tasks by weak references.
            task = loop.create_task(self._run(lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            lane.waiting.append(search)
        return await search.answer

    def longest(self) -> float:
        """Return for how many seconds the batch has run that began first."""
        begun = [lane.begun for lane in self._lanes.values()]
        return time.monotonic() - min(begun) if begun else 0.0

    async def _run(self, lane: _Lane) -> None:
        """Search batch after batch until none waits."""
        while batch := lane.next():
            await self._search(lane, batch)
        # Nothing can have been added since: there is no await in between.
        del self._lanes[lane.served, lane.index]

    async def _search(self, lane: _Lane, batch: list[_Search]) -> None:
        """Answer the searches of a batch, each by itself where they fail together."""
        queries = [query for search in batch for query in search.request.queries]
        self._observe(lane.served.name, lane.index, len(queries))
        lane.begun = time.monotonic()
        loop = asyncio.get_running_loop()
        first = batch[0]
        try:
            found = await loop.run_in_executor(self._threads, _find, lane, first.request, queries, first.where)
        except Exception as error:
            if len(batch) == 1 or not isinstance(error, MnemodexError):
                for search in batch:
                    _fail(search, error)
                return
            for search in batch:
                await self._search(lane, [search])
            return
        begin = 0
        for search in batch:
            end = begin + len(search.request.queries)
            if not search.answer.done():
                search.answer.set_result(_part(found, begin, end))
            begin = end


def _find(lane: _Lane, request: SearchForm, queries: list[str], where: str | None) -> Found:
    # Other operations use the same retriever.
    with lane.served.locks[lane.index]:
        return find(lane.served, request, queries, where)


def _fail(search: _Search, error: Exception) -> None:
    if not search.answer.done():
        search.answer.set_exception(error)


def _part(found: Found, begin: int, end: int) -> Found:
    """Return the answer of some questions of a batch: lists have an item a question."""
    return {name: value[begin:end] if isinstance(value, list) else value for name, value in found.items()}
