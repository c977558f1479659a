"""A memory in other processes: pickled, forked, spawned."""

from __future__ import annotations

import multiprocessing
import pickle

import pytest
from small_memory import QUESTIONS, build_again, build_small, write_corpus

from mnemodex.retrievers.memory import Memory
from mnemodex.schemas.errors import ForkedProcessError, MemoryNotFoundError


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    build_small(folder)
    return folder


def ask(memory, name, where=None):
    return memory.retriever(name).search(QUESTIONS, 3, where=where).ids.tolist()


def answer(queue, memory, name, where):
    try:
        queue.put(ask(memory, name, where))
    except ForkedProcessError as error:
        queue.put(str(error))


def in_process(method, memory, name, where=None):
    """What another process answers; it is given a minute."""
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=answer, args=(queue, memory, name, where))
    process.start()
    try:
        return queue.get(timeout=60)
    finally:
        process.kill()
        process.join()


@pytest.mark.parametrize(("name", "where"), [("flat", None), ("graph", None), ("words", "title LIKE 'Town%'")])
def test_a_fork_of_a_process_that_has_searched_is_refused_with_the_remedy(built, name, where):
    memory = Memory(built / "memory")
    ask(memory, name, where)
    assert "is a fork of" in (told := in_process("fork", memory, name, where))
    assert 'multiprocessing.get_context("spawn")' in told


def test_a_spawned_process_answers_as_its_parent(built):
    memory = Memory(built / "memory")
    assert in_process("spawn", memory, "both") == ask(memory, "both")


def test_a_fork_of_a_process_that_has_searched_words_answers(built):
    memory = Memory(built / "memory")
    assert in_process("fork", memory, "words") == ask(memory, "words")


def test_a_pickled_memory_is_opened_again_at_its_snapshot(built, tmp_path):
    memory = Memory(built / "memory")
    query = "SELECT count(*) FROM documents"
    count = memory.sql(query).fetchall()
    pickled = pickle.dumps(memory)
    assert len(pickled) < 1000
    write_corpus(built / "source", "c.jsonl", range(12, 15))
    build_again(built, built / "memory")
    again = pickle.loads(pickled)
    assert again.snapshot.manifest.name == memory.snapshot.manifest.name
    assert again.sql(query).fetchall() == count
    assert ask(again, "words") == ask(memory, "words")
    assert Memory(built / "memory").sql(query).fetchall() > count


def test_a_pickled_memory_whose_snapshot_is_gone_says_so(built):
    memory = Memory(built / "memory")
    memory.snapshot.manifest = memory.snapshot.manifest.model_copy(update={"created": "2020-01-01T00:00:00"})
    with pytest.raises(MemoryNotFoundError, match="of 2020-01-01T00:00:00 is no longer there; open the memory again"):
        pickle.loads(pickle.dumps(memory))
