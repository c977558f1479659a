"""A writer that is killed, or stopped for a long time, before the operations of publishing and committing."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from library import records, words_recipe, write_jsonl

import mnemodex
from mnemodex.pipelines import run as run_module
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.store import open_store


@pytest.fixture(scope="module")
def memories(tmp_path_factory):
    """A memory as it was at its first commit, and as it is after the second."""
    from engines import InlineEngine

    folder = tmp_path_factory.mktemp("kill")
    source = folder / "source"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "choose_engine", InlineEngine)
        write_jsonl(source / "a.jsonl", records()[:5])
        mnemodex.build(words_recipe(source, folder / "finished"))
        shutil.copytree(folder / "finished", folder / "first")
        write_jsonl(source / "b.jsonl", records()[5:8])
        mnemodex.build(words_recipe(source, folder / "finished"))
    return folder / "first", folder / "finished"


@pytest.fixture(params=[9, pytest.param(1, marks=pytest.mark.slow)], ids=["every-ninth", "every"])
def step(request):
    """Between the operations before which a writer is disturbed: a slow run takes each."""
    return request.param


@pytest.fixture
def kill(step):
    return lambda finished, base, *damaged: run(
        "killed_writer.py", str(finished), str(base), "SCRATCH", str(step), *damaged
    )


def run(program, *arguments):
    # Thousands of files are written and fsynced: in memory, where there is a place for that.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        given = [scratch if argument == "SCRATCH" else argument for argument in arguments]
        command = [sys.executable, str(Path(__file__).with_name(program)), *given]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_first_build_may_die_anywhere(kill, memories, tmp_path):
    first, _ = memories
    report = kill(first, tmp_path / "nothing")
    assert report["problems"] == []
    assert report["operations"] > 100


def test_a_build_of_a_new_snapshot_may_die_anywhere(kill, memories):
    first, finished = memories
    report = kill(finished, first)
    assert report["problems"] == []
    assert report["operations"] > 100


def test_a_build_that_heals_may_die_anywhere(kill, memories, tmp_path):
    first, _ = memories
    base = shutil.copytree(first, tmp_path / "damaged")
    manifest = open_store(base)[1]
    damaged = [manifest.tables["chunks"].partitions[0].files[0].path]
    damaged += [file.path for file in manifest.indexes["words"].shards[0].files[:2]]
    for path in damaged:
        (base / path).write_bytes(b"short")
    shard = [file.path for file in manifest.indexes["words"].shards[0].files]
    report = kill(first, base, *damaged, *shard)
    assert report["problems"] == []
    assert report["operations"] > 30


@pytest.fixture
def otherwise(memories, tmp_path, monkeypatch):
    """A memory of the same fingerprints as the first one, whose tables have other bytes."""
    from engines import InlineEngine

    first, _ = memories
    write = parquet.write

    def write_otherwise(path, table, batches):
        return write(path, dataclasses.replace(table, row_group_rows=1), batches)

    monkeypatch.setattr(run_module, "choose_engine", InlineEngine)
    monkeypatch.setattr(parquet, "write", write_otherwise)
    write_jsonl(tmp_path / "source" / "a.jsonl", records()[:5])
    mnemodex.build(words_recipe(tmp_path / "source", tmp_path / "otherwise"))
    (one,), (two,) = (open_store(root)[1].tables["chunks"].partitions for root in (first, tmp_path / "otherwise"))
    assert one.place == two.place and one.folder != two.folder
    return tmp_path / "otherwise"


def test_a_writer_that_wakes_up_late_does_no_harm(step, memories, otherwise):
    first, _ = memories
    report = run("stopped_writer.py", str(first), str(otherwise), "SCRATCH", str(step))
    assert report["problems"] == []
    assert report["operations"] > 100
    # From where it has looked at the current snapshot to its commit.
    assert 0 < report["early"] < report["late"]
