"""Fifteen real builds, on Ray or in one process, each with a kill -9 at a random moment: run by `make faults`.

`FAULTS_SEED=… make faults` kills at other moments.
"""

from __future__ import annotations

import shutil
import signal
import time

import pytest
from engines import InlineEngine
from fuzzing import stream
from language_models import saved
from processes import kill_tagged, send, wait_until
from recovery import ON_RAY, assert_kept, assert_same, build_process, missing, published, workers_of
from small_memory import answers, build_inline, write_corpus, write_triples

from mnemodex.schemas.errors import MemoryNotFoundError, MnemodexError
from mnemodex.schemas.store.store import open_store

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

INDEXES = {
    "words": {"type": "bm25"},
    "flat": {"type": "dense", "factory": "Flat"},
    "graph": {"type": "dense", "engine": "hnswlib"},
    "lists": {"type": "dense", "factory": "IVF2,Flat"},
    "ngrams": {"type": "ngram"},
    "keys": {"type": "seal"},
    "walk": {"type": "graph"},
    "next": {"type": "knn_lm", "factory": "Flat"},
    "both": {"type": "hybrid", "of": ["flat", "words"]},
}
EXACT = ("words", "flat", "ngrams", "keys", "walk", "next", "both")
"""Indexes that answer the same however their builds were split."""
PARTITIONS = 4
LOCALLY = ("--local",)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults") / "source"
    for number in range(PARTITIONS):
        write_corpus(folder, f"{number}.jsonl", range(number * 40, number * 40 + 40))
    write_triples(folder.parent / "triples.jsonl")
    saved("llama", folder.parent / "model")
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
    return {"source": {"path": str(source)}, "memory": str(memory), "indexes": INDEXES, **sections(source)}


def sections(source):
    """What graphs and next tokens are made of."""
    folder = source.parent
    return {
        "triples": {"from": str(folder / "triples.jsonl")},
        "lm": {"tiny": {"model": str(folder / "model"), "window": 32, "overlap": 8}},
    }


def finish_and_check(source, memory, undisturbed, plan):
    """Build to the end without Ray: only what is missing is computed, and the memory is as if nothing had happened.

    `plan` is that of the former source, which goes with it.
    """
    before = {marker: state for marker, state in published(memory).items() if marker not in plan}
    InlineEngine.computed = 0
    build_inline(source, memory, INDEXES, **sections(source))
    assert InlineEngine.computed <= len(missing(before, memory, undisturbed))
    assert_kept(before, memory)
    assert_same(memory, undisturbed)
    given, wanted = answers(memory), answers(undisturbed)
    assert not [name for name in given if "search" in name and isinstance(given[name], MnemodexError)]
    for name in EXACT:
        assert given[f"search {name}"] == wanted[f"search {name}"], name


@pytest.mark.parametrize("trial", range(15))
def test_a_kill_at_any_moment_loses_nothing(source, undisturbed, tmp_path, counts, trial):
    peaceful, seconds = undisturbed
    chance = stream("kills", trial)
    options, victim = chance.choice([(ON_RAY, "driver"), (ON_RAY, "worker"), (LOCALLY, "driver")])
    moment = chance.uniform(0, seconds[options])
    print(f"{victim} of {options} killed after {moment:.2f} s of {seconds[options]:.2f} s")
    memory = tmp_path / "memory"
    if chance.random() < 0.5:
        # A memory that has a snapshot already: of the first half of the source.
        half = tmp_path / "half"
        half.mkdir()
        for number in range(PARTITIONS // 2):
            shutil.copy2(source / f"{number}.jsonl", half)
        build_inline(half, memory, {"words": INDEXES["words"]})
    former, plan = opened(memory), set(memory.glob("work/plan/*/*.json"))
    with build_process(recipe(source, memory), tmp_path, options) as (driver, tag):
        time.sleep(moment)
        workers = workers_of(tag)
        if victim == "worker" and workers:
            send(chance.choice(workers), signal.SIGKILL)
            assert driver.wait() == 0
        else:
            # The whole group of processes, and all that they started elsewhere.
            driver.kill()
            driver.wait()
            kill_tagged(tag)
        counts[f"{victim}s killed"] += 1
        counts["results kept"] += len(published(memory))
        found = opened(memory)
        assert found in (former, None) or found.same_content(open_store(peaceful)[1])
        finish_and_check(source, memory, peaceful, plan)
        wait_until(lambda: not workers_of(tag))
    assert_same(memory, peaceful)


def opened(memory):
    try:
        return open_store(memory)[1]
    except MemoryNotFoundError:
        return None
