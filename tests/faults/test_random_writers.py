"""Builds of one memory at once, stopped builds that wake up late, and a memory that cannot be written to."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from fuzzing import stream
from recovery import assert_same, build_process
from small_memory import INDEXES, QUESTIONS, build_inline, build_small, write_corpus

from mnemodex.pipelines.verify import verify
from mnemodex.schemas.store.store import open_store

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

LOCALLY = ("--local",)
CHOSEN = {name: INDEXES[name] for name in ("words", "flat", "ngrams")}
MOUNT = ["unshare", "--user", "--map-root-user", "--mount"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A source, a memory that was built of it in peace, and the seconds of a build process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_corpus(folder / "source", "a.jsonl", range(80))
    write_corpus(folder / "source", "b.jsonl", range(80, 160))
    started = time.monotonic()
    with build_process(recipe(folder / "source", folder / "memory"), folder, LOCALLY) as (process, _):
        assert process.wait() == 0
    return folder / "source", folder / "memory", time.monotonic() - started


def recipe(source, memory):
    return {"source": {"path": str(source)}, "memory": str(memory), "indexes": CHOSEN}


def folders(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        yield tmp_path / name


@pytest.mark.parametrize("trial", range(5))
def test_two_builds_at_once_end_in_one_memory(undisturbed, tmp_path, counts, trial):
    source, peaceful, seconds = undisturbed
    one, two = folders(tmp_path)
    wanted = recipe(source, tmp_path / "memory")
    with build_process(wanted, one, LOCALLY) as (first, _):
        time.sleep(stream("writers", trial).uniform(0, seconds))
        with build_process(wanted, two, LOCALLY) as (second, _):
            ends = first.wait(), second.wait()
    assert ends[0] == 0 and ends[1] in {0, 1}
    counts["second builds refused" if ends[1] else "second builds ended"] += 1
    if ends[1]:
        assert "another build is writing to this memory" in (two / "stderr").read_text()
    assert_same(tmp_path / "memory", peaceful)


@pytest.mark.parametrize("trial", range(5))
def test_a_stopped_build_keeps_others_out_and_ends_when_it_wakes(undisturbed, tmp_path, counts, trial):
    source, peaceful, seconds = undisturbed
    one, two = folders(tmp_path)
    wanted = recipe(source, tmp_path / "memory")
    with build_process(wanted, one, LOCALLY) as (first, _):
        time.sleep(stream("stopped", trial).uniform(0, seconds))
        first.send_signal(signal.SIGSTOP)
        with build_process(wanted, two, LOCALLY) as (second, _):
            end = second.wait()
        first.send_signal(signal.SIGCONT)
        assert first.wait() == 0 and end in {0, 1}
    counts["others refused" if end else "others ended"] += 1
    assert_same(tmp_path / "memory", peaceful)


def test_a_memory_that_cannot_be_written_to_is_read(tmp_path, counts):
    if shutil.which("unshare") is None or subprocess.run([*MOUNT, "true"], check=False).returncode != 0:
        pytest.skip("this system gives its users no mounts of their own")
    memory = build_small(tmp_path)
    write_corpus(tmp_path / "source", "c.jsonl", range(12, 18))
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe(tmp_path / "source", memory)))
    before = open_store(memory)[1]
    searches = [["search", str(memory), name, QUESTIONS[0]] for name in before.indexes]
    reads = [["show", str(memory)], ["sql", str(memory), "SELECT count(*) FROM chunks"], ["verify", str(memory)]]
    for command, code in [*((read, 0) for read in [*searches, *reads]), (["build", str(tmp_path / "recipe.yaml")], 1)]:
        script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
        done = subprocess.run(
            [*MOUNT, "sh", "-c", script, str(memory), sys.executable, "-m", "mnemodex", *command],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ},
        )
        assert done.returncode == code, (command, done.stderr)
        counts["commands"] += 1
        if code:
            assert "make the folder writable, or choose another" in done.stderr
            assert done.stderr.count("error: ") == 1 and "Traceback" not in done.stderr
    assert open_store(memory)[1] == before and verify(memory).problems == []
    build_inline(tmp_path / "source", memory, CHOSEN)
