"""Ten real builds, on Ray or in one process, each with a kill -9 at a random moment: run by `make faults`.

A failure prints the seed; `FAULTS_SEED=… make faults` kills at the same moments again, as far as a clock can.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import time

import pytest
from engines import InlineEngine
from processes import send, wait_until
from recovery import ON_RAY, assert_kept, assert_same, build_process, missing, published, workers_of
from small_memory import build_inline, write_corpus

from mnemodex.schemas.errors import MemoryNotFoundError
from mnemodex.schemas.store.store import open_store

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SEED = os.environ.get("FAULTS_SEED") or secrets.token_hex(4)
INDEXES = {
    "words": {"type": "bm25"},
    "flat": {"type": "dense", "factory": "Flat"},
    "graph": {"type": "dense", "engine": "hnswlib"},
}
PARTITIONS = 6
LOCALLY = ("--local",)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults") / "source"
    for number in range(PARTITIONS):
        write_corpus(folder, f"{number}.jsonl", range(number * 60, number * 60 + 60))
    return folder


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    """A memory that was built in peace by the same command line, and the seconds that took by its options."""
    seconds = {}
    for options in (LOCALLY, ON_RAY):
        folder = tmp_path_factory.mktemp("undisturbed")
        started = time.monotonic()
        with build_process(recipe(source, folder / "memory"), folder, options) as (driver, _):
            assert driver.wait() == 0
        seconds[options] = time.monotonic() - started
    return folder / "memory", seconds


def recipe(source, memory):
    return {"source": {"path": str(source)}, "memory": str(memory), "indexes": INDEXES}


def finish_and_check(source, memory, undisturbed):
    """Build to the end without Ray: only what is missing is computed, and the memory is as if nothing had happened."""
    before = published(memory)
    InlineEngine.computed = 0
    build_inline(source, memory, INDEXES)
    assert InlineEngine.computed <= len(missing(before, memory, undisturbed))
    assert_kept(before, memory)
    assert_same(memory, undisturbed)


@pytest.mark.parametrize("trial", range(10))
def test_a_kill_at_any_moment_loses_nothing(source, undisturbed, tmp_path, trial):
    peaceful, seconds = undisturbed
    chance = random.Random(f"{SEED} {trial}")
    options, victim = chance.choice([(ON_RAY, "driver"), (ON_RAY, "worker"), (LOCALLY, "driver")])
    moment = chance.uniform(0, seconds[options])
    print(f"FAULTS_SEED={SEED}: {victim} of {options} killed after {moment:.2f} s of {seconds[options]:.2f} s")
    memory = tmp_path / "memory"
    if chance.random() < 0.5:
        # A memory that has a snapshot already: of the first half of the source.
        half = tmp_path / "half"
        half.mkdir()
        for number in range(PARTITIONS // 2):
            shutil.copy2(source / f"{number}.jsonl", half)
        build_inline(half, memory, {"words": INDEXES["words"]})
    former = opened(memory)
    with build_process(recipe(source, memory), tmp_path, options) as (driver, tag):
        time.sleep(moment)
        workers = workers_of(tag)
        if victim == "worker" and workers:
            send(chance.choice(workers), signal.SIGKILL)
            assert driver.wait() == 0
        else:
            driver.kill()
            driver.wait()
        found = opened(memory)
        assert found in (former, None) or found.same_content(open_store(peaceful)[1])
        finish_and_check(source, memory, peaceful)
        wait_until(lambda: not workers_of(tag))
    assert_same(memory, peaceful)


def opened(memory):
    try:
        return open_store(memory)[1]
    except MemoryNotFoundError:
        return None
