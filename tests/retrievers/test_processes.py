"""A memory in other processes: pickled, forked, spawned."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import re
import shutil
import subprocess
import sys
import weakref

import pytest
from small_memory import QUESTIONS, build_again, write_corpus

from mnemodex.retrievers.memory import Memory
from mnemodex.schemas.errors import ForkedProcessError, MemoryNotFoundError


@pytest.fixture(scope="module")
def built(small_memory, tmp_path_factory):
    return shutil.copytree(small_memory, tmp_path_factory.mktemp("built"), dirs_exist_ok=True)


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


@pytest.mark.parametrize(
    ("name", "where"),
    [("flat", None), ("graph", None), ("walk", None), ("next", None), ("words", "title LIKE 'Town%'")],
)
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


SCRIPT = """
import sys
import time
import mnemodex
from mnemodex.schemas.errors import QueryError

memory = mnemodex.open(sys.argv[1])
print(memory.sql("SELECT len(embed('a')), ngram_count('ngrams', 'river')").fetchall())
print(memory.retriever("words").search(["river"], 2, where="d.key = 'd0'").ids.shape)
index = memory.retriever("ngrams")
count = index.count
index.count = lambda *args, **options: (time.sleep(3), count(*args, **options))[1]
for slow in ("count(*) FROM range(1000000000000)", "ngram_count('ngrams', 'harbour')"):
    try:
        memory.sql(f"SELECT {slow}", seconds=0.1)
    except QueryError as error:
        print(error)
"""


def test_a_program_that_asked_sql_ends_without_a_word(built):
    """The statements run into their limit; the last one does not look at it and still runs when the program ends."""
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(built / "memory")], capture_output=True, text=True, timeout=120, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.match(r"\[\(384, \d\)\]\n\(1, 2\)\n", ran.stdout) and ran.stdout.count("was stopped") == 2


def test_a_database_goes_with_its_memory(built):
    memory = Memory(built / "memory")
    memory.sql("SELECT len(embed('a'))")
    gone = weakref.ref(memory._sql._connection)
    del memory
    gc.collect()
    assert gone() is None
