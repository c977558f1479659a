"""kill -9 in real builds on Ray: of the driver, of a worker, and of every worker that takes a certain unit."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from builds import computed, keys
from engines import InlineEngine
from library import words_recipe, write_jsonl
from ops_that_fail import FatalChunker, FatalEncoder, deaths
from processes import descendants, send, wait_until
from recovery import WORKER, assert_kept, assert_same, build_process, missing, published, stop_one_at_work, workers_of
from small_memory import build_inline, write_corpus

import mnemodex
from mnemodex.pipelines.ray_engine import MAX_DEATHS
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
        wait_until(lambda: len(published(memory)) > 2 * PARTITIONS or driver.poll() is not None)
        driver.kill()
        driver.wait()
        before = published(memory)
        assert not (memory / "CURRENT").exists()
        # At once, next to the workers of the killed build, which live on for some seconds.
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
    recipe = {"source": {"path": str(source)}, "indexes": WORDS}
    result = mnemodex.build(recipe, memory=memory, address="local")
    killer.join(timeout=10)
    assert found, "no worker was caught at work"
    assert_kept(found["published"], memory)
    assert (result.engine, sum(step.computed for step in result.steps)) == ("Ray", len(published(memory)))
    assert_same(memory, undisturbed)


def kill_one_at_work(memory, found):
    """Kill a worker in the midst of a unit."""
    while not found and threading.main_thread().is_alive():
        pid = stop_one_at_work(os.getpid(), memory)
        if pid is not None:
            found["published"] = published(memory)
            send(pid, signal.SIGKILL)
        time.sleep(0.002)


@pytest.mark.usefixtures("ray_session")
def test_a_build_goes_on_when_all_workers_are_killed_again_and_again(source, undisturbed, tmp_path):
    memory = tmp_path / "memory"
    killer = threading.Thread(target=kill_all, args=(MAX_DEATHS - 1,), daemon=True)
    killer.start()
    mnemodex.build({"source": {"path": str(source)}, "indexes": WORDS}, memory=memory, address="local")
    killer.join(timeout=10)
    assert not killer.is_alive()
    assert_same(memory, undisturbed)


def kill_all(times):
    """Kill every worker, whether it works or waits; not as often as one unit may kill its worker."""
    for _ in range(times):
        wait_until(lambda: [pid for pid in descendants(os.getpid(), WORKER) if send(pid, signal.SIGKILL)])
        time.sleep(0.5)


@pytest.mark.usefixtures("ray_session")
def test_a_unit_that_kills_every_worker_fails_the_build_and_the_others_are_kept(tmp_path):
    for name in "abc":
        write_jsonl(tmp_path / "source" / f"{name}.jsonl", [{"id": name, "text": f"a note about {name}: ferries"}])
    write_jsonl(tmp_path / "source" / "bad.jsonl", [{"id": "bad", "text": "a note that is poison"}])
    recipe = words_recipe(tmp_path / "source", tmp_path / "memory")
    message = rf"^chunks partition bad\.jsonl-00000: its worker died {MAX_DEATHS} times"
    with pytest.raises(StageFailedError, match=message):
        mnemodex.build(recipe, chunker=FatalChunker("poison"), address="local")
    store = Store(tmp_path / "memory")
    assert store.current() is None
    before = published(store.root)
    # The next build, where that partition is no poison any more, goes on from there.
    result = mnemodex.build(recipe, chunker=FatalChunker("nothing"), local=True)
    assert_kept(before, store.root)
    assert "documents" not in computed(result) and computed(result)["chunks"] >= 1
    assert keys(store.root) == ["a", "b", "bad", "c"]
    # What a worker had begun that was stopped with the first build is removed, too.
    assert [name for name in store.files.names("work") if name != "plan"] == []


@pytest.mark.usefixtures("ray_session")
def test_a_worker_that_dies_in_the_midst_of_a_models_work_loses_only_what_was_not_kept(tmp_path):
    rows = [{"id": number, "text": f"note {number}"} for number in range(700)]
    indexes = {"dense": {"type": "dense", "factory": "Flat"}}
    encoder = FatalEncoder(str(tmp_path / "noted"), at=3)
    given = {"source": rows, "encoders": {"ones": encoder}, "address": "local"}
    assert mnemodex.build({"indexes": indexes}, memory=tmp_path / "memory", **given).committed
    # The batch that killed is asked for again, by another worker; those before it are not.
    assert deaths(tmp_path / "noted") == ["256", "256", "188", "188"]
    assert not any((tmp_path / "memory" / "work" / "partial").iterdir())
