"""kill -9 in real builds on Ray: of the driver, of a worker, and of every worker that takes a certain unit."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from engines import InlineEngine
from library import words_recipe
from processes import descendants, send, wait_until
from recovery import WORKER, assert_kept, assert_same, build_process, missing, published, workers_of
from small_memory import build_inline, write_corpus

import mnemodex
from mnemodex.pipelines.engine import Engine
from mnemodex.pipelines.jobs import JobSpec, Unit
from mnemodex.pipelines.sources.base import Piece, Split
from mnemodex.pipelines.worker import MAX_DEATHS
from mnemodex.schemas.errors import StageFailedError
from mnemodex.schemas.store.store import Store

pytestmark = pytest.mark.ray

PARTITIONS = 8
WORDS = {"words": {"type": "bm25"}}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray") / "source"
    for number in range(PARTITIONS):
        write_corpus(folder, f"{number}.jsonl", range(number * 400, number * 400 + 400))
    return folder


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    """The memory of a build that nobody disturbed."""
    memory = tmp_path_factory.mktemp("ray") / "undisturbed"
    build_inline(source, memory, WORDS)
    return memory


def test_the_next_build_goes_on_where_a_killed_driver_stopped(source, undisturbed, tmp_path):
    memory = tmp_path / "memory"
    with build_process(words_recipe(source, memory), tmp_path) as (driver, tag):
        wait_until(lambda: len(published(memory)) > PARTITIONS or driver.poll() is not None)
        driver.kill()
        driver.wait()
        before = published(memory)
        assert not (memory / "CURRENT").exists()
        # At once, beside the workers of the killed build, which live on for some seconds.
        InlineEngine.computed = 0
        build_inline(source, memory, WORDS)
        assert 0 < InlineEngine.computed <= len(missing(before, memory, undisturbed))
        wait_until(lambda: not workers_of(tag))
    assert_kept(before, memory)
    assert_same(memory, undisturbed)
    assert not build_inline(source, memory, WORDS).committed


@pytest.mark.usefixtures("ray_session")
def test_a_build_goes_on_when_a_worker_is_killed(source, undisturbed, tmp_path):
    memory = tmp_path / "memory"
    found = {}
    killer = threading.Thread(target=kill_one_at_work, args=(memory, found), daemon=True)
    killer.start()
    result = mnemodex.build({"source": {"path": str(source)}, "indexes": WORDS}, memory=memory)
    killer.join(timeout=10)
    assert found, "no worker was caught at work"
    assert_kept(found["published"], memory)
    assert sum(stage.computed for stage in result.stages) == len(published(memory))
    assert_same(memory, undisturbed)


def kill_one_at_work(memory, found):
    """Stop workers again and again until one is stopped in the midst of a unit, and kill that."""
    while not found and threading.main_thread().is_alive():
        for pid in descendants(os.getpid(), WORKER):
            if not found and send(pid, signal.SIGSTOP):
                if list(memory.glob("work/run-*/*/0")):
                    found["published"] = published(memory)
                    send(pid, signal.SIGKILL)
                else:
                    send(pid, signal.SIGCONT)


@pytest.mark.usefixtures("ray_session")
def test_a_unit_that_kills_every_worker_fails_the_build(tmp_path):
    store = Store(tmp_path / "memory")
    store.prepare()
    # Whoever reads a pipe that nobody writes to waits there, and is killed here.
    source = tmp_path / "source"
    source.mkdir()
    os.mkfifo(source / "pipe.jsonl")
    split = Split("bad", (Piece("pipe.jsonl", 0, 1, 1, ""),)).to_json()
    unit = Unit("tables/documents", "bad", "f", {"splits": [{"split": split, "fingerprint": "f"}]})
    settings = {"path": str(source), "fields": {}, "format": None, "id_salt": ""}
    killer = threading.Thread(target=kill_every_worker, args=(store.root,), daemon=True)
    killer.start()
    with pytest.raises(StageFailedError, match=f"tables/documents partition bad: .*died {MAX_DEATHS} times"):
        list(Engine(store).run(JobSpec("mnemodex.pipelines.read:ReadJob", settings), [unit]))
    store.clean()
    assert store.files.names("work") == []


def kill_every_worker(memory):
    """Kill the worker that has begun with the unit, as often as a unit may kill its worker."""
    for death in range(MAX_DEATHS):
        wait_until(lambda death=death: list(memory.glob(f"work/run-*/*/{death}")))
        wait_until(lambda: [pid for pid in descendants(os.getpid(), WORKER) if send(pid, signal.SIGKILL)])
