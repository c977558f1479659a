"""kill -9 in real builds on Ray: of the driver, of a worker, and of every worker that takes a certain unit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid

import pytest
from engines import InlineEngine
from library import words_recipe
from processes import descendants, kill_tagged, send, tagged, wait_until
from small_memory import build_inline, write_corpus

import mnemodex
from mnemodex.pipelines.engine import Engine
from mnemodex.pipelines.jobs import JobSpec, Unit
from mnemodex.pipelines.sources.base import Piece, Split
from mnemodex.pipelines.verify import verify
from mnemodex.pipelines.worker import MAX_DEATHS
from mnemodex.schemas.errors import StageFailedError
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.store import Store, open_store

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


def published(memory):
    """Every finished result: its marker, and what changes when it is made again."""
    markers = [*memory.glob("tables/*/*.json"), *memory.glob("indexes/*/*/marker.json")]
    return {marker: (marker.stat().st_ino, marker.stat().st_mtime_ns) for marker in markers}


def assert_same(memory, undisturbed):
    assert verify(memory).problems == []
    (store, manifest), (other_store, wanted) = open_store(memory), open_store(undisturbed)
    assert manifest.same_content(wanted)
    for table in ("documents", "chunks"):
        parts = zip(manifest.tables[table].partitions, wanted.tables[table].partitions, strict=True)
        for part, other in parts:
            mine, others = (
                parquet.read(opened.files.check(artifact.file(".parquet")))
                for opened, artifact in ((store, part), (other_store, other))
            )
            assert mine.equals(others)


@pytest.fixture
def driver(source, tmp_path):
    """The command line's build in a process of its own, and its Ray with it."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(words_recipe(source, tmp_path / "memory")))
    tag = f"MNEMODEX_TEST={uuid.uuid4().hex}"
    name, _, value = tag.partition("=")
    process = subprocess.Popen(
        [sys.executable, "-m", "mnemodex", "build", str(recipe)],
        env={**os.environ, name: value},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    process.tag = tag
    yield process
    process.kill()
    process.wait()
    kill_tagged(tag)


def test_the_next_build_goes_on_where_a_killed_driver_stopped(driver, source, undisturbed, tmp_path):
    memory = tmp_path / "memory"
    wait_until(lambda: len(published(memory)) > PARTITIONS or driver.poll() is not None)
    driver.kill()
    driver.wait()
    before = published(memory)
    assert not (memory / "CURRENT").exists()
    # At once, beside the workers of the killed build, which live on for some seconds.
    InlineEngine.computed = 0
    build_inline(source, memory, WORDS)
    total = len(published(undisturbed))
    assert 0 < InlineEngine.computed <= total - len(before)
    wait_until(lambda: not tagged(driver.tag))
    after = published(memory)
    assert {marker: after[marker] for marker in before} == before
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
    after = published(memory)
    assert {marker: after[marker] for marker in found["published"]} == found["published"]
    assert sum(stage.computed for stage in result.stages) == len(after)
    assert_same(memory, undisturbed)


def kill_one_at_work(memory, found):
    """Stop workers again and again until one is stopped in the midst of a unit, and kill that."""
    while not found and threading.main_thread().is_alive():
        for pid in descendants(os.getpid(), "ray::MapWorker"):
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
    killed: list[int] = []
    killer = threading.Thread(target=kill_whoever_reads, args=(source / "pipe.jsonl", killed), daemon=True)
    killer.start()
    with pytest.raises(StageFailedError, match=f"tables/documents partition bad: .*died {MAX_DEATHS} times"):
        list(Engine(store).run(JobSpec("mnemodex.pipelines.read:ReadJob", settings), [unit]))
    assert len(killed) == MAX_DEATHS
    assert store.files.names("work") == []
    killer.join(timeout=10)


def kill_whoever_reads(pipe, killed):
    """Wait for the pipe's reader, and kill it; as often as a unit may kill its worker, and no more."""
    while len(killed) < MAX_DEATHS:
        # Opening it for writing waits until somebody reads it.
        with pipe.open("wb"):
            for pid in descendants(os.getpid(), "ray::MapWorker"):
                if pid not in killed and send(pid, signal.SIGKILL):
                    killed.append(pid)
