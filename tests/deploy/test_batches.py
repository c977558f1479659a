"""Searches in batches."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mnemodex.deploy import batches as module
from mnemodex.deploy.access import OPEN
from mnemodex.deploy.batches import MOST_QUESTIONS, Batches
from mnemodex.deploy.operations.search import SearchForm, search
from mnemodex.schemas.errors import QueryError


@pytest.fixture
def served(service):
    return service.memories.get(None)


class Room:
    """Batches whose first search waits until it is let through, and what they were given."""

    def __init__(self, monkeypatch):
        self.sizes = []
        self.begun, self.open = threading.Event(), threading.Event()
        find = module.find

        def waiting(*arguments):
            self.begun.set()
            assert self.open.wait(60)
            return find(*arguments)

        monkeypatch.setattr(module, "find", waiting)
        self.batches = Batches(ThreadPoolExecutor(4), lambda memory, index, size: self.sizes.append(size))

    async def ask(self, served, first, *forms):
        """Ask `first`, and the others while it is searched."""
        tasks = [asyncio.ensure_future(self.batches.search(served, first, OPEN))]
        await asyncio.to_thread(self.begun.wait, 60)
        tasks += [asyncio.ensure_future(self.batches.search(served, form, OPEN)) for form in forms]
        await asyncio.sleep(0)
        self.open.set()
        return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def room(monkeypatch):
    return Room(monkeypatch)


def form(*queries, **options):
    return SearchForm(**{"index": "flat", "queries": queries, "k": 3, **options})


def ids(answer):
    return [[hit["chunk_id"] for hit in hits] for hits in answer["hits"]]


def test_what_arrives_during_a_search_is_searched_together(served, room):
    forms = [form("lamp"), form("slate"), form("bread", "straw"), form("ferry")]
    answers = asyncio.run(room.ask(served, *forms))
    assert room.sizes == [1, 4]
    assert [ids(answer) for answer in answers] == [ids(search(served, asked, OPEN)) for asked in forms]


def test_searches_of_another_kind_wait_for_their_own_batch(served, room):
    forms = [form("lamp"), form("slate"), form("bread", k=2), form("ferry"), form("oats", where="year < 1902")]
    forms.append(form("salt", kind="chunk"))
    answers = asyncio.run(room.ask(served, *forms))
    assert room.sizes == [1, 2, 1, 1, 1]
    assert [ids(answer) for answer in answers] == [ids(search(served, asked, OPEN)) for asked in forms]


def test_a_batch_has_its_largest_size(served, room):
    forms = [form("lamp"), *(form(*["slate"] * 40) for _ in range(4))]
    answers = asyncio.run(room.ask(served, *forms))
    assert room.sizes == [1, 120, 40] and max(room.sizes) <= MOST_QUESTIONS
    assert all(len(answer["hits"]) == 40 for answer in answers[1:])


def test_other_indexes_do_not_wait(served, room):
    async def ask():
        blocked = asyncio.ensure_future(room.batches.search(served, form("lamp"), OPEN))
        await asyncio.to_thread(room.begun.wait, 60)
        assert room.batches.longest() > 0
        room.begun.clear()
        other = asyncio.ensure_future(room.batches.search(served, form("lamp", index="words"), OPEN))
        await asyncio.to_thread(room.begun.wait, 60)
        room.open.set()
        return await asyncio.gather(blocked, other)

    assert [answer["index"] for answer in asyncio.run(ask())] == ["flat", "words"]
    assert room.batches.longest() == 0


def test_a_search_that_fails_fails_alone(served, room, monkeypatch):
    find = module.find

    def poisoned(served, request, queries, where):
        if "poison" in queries:
            raise QueryError("poison")
        return find(served, request, queries, where)

    monkeypatch.setattr(module, "find", poisoned)
    answers = asyncio.run(room.ask(served, form("lamp"), form("slate"), form("poison"), form("ferry")))
    assert isinstance(answers[2], QueryError)
    assert [len(answer["hits"]) for answer in (*answers[:2], answers[3])] == [1, 1, 1]


def test_a_search_that_was_given_up_is_left_out(served, room):
    async def ask():
        first = asyncio.ensure_future(room.batches.search(served, form("lamp"), OPEN))
        await asyncio.to_thread(room.begun.wait, 60)
        second = asyncio.ensure_future(room.batches.search(served, form("slate"), OPEN))
        third = asyncio.ensure_future(room.batches.search(served, form("ferry"), OPEN))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        room.open.set()
        return await asyncio.gather(first, third)

    assert len(asyncio.run(ask())) == 2
    assert room.sizes == [1, 1]


def test_searches_that_may_not_be_made_join_no_batch(served, room):
    with pytest.raises(QueryError):
        asyncio.run(room.batches.search(served, form("lamp", index="none"), OPEN))
    assert room.sizes == []
