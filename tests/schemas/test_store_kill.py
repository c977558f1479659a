"""kill -9 before every single operation of publishing and committing."""

from __future__ import annotations

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
from mnemodex.schemas.store.store import open_store

PROGRAM = Path(__file__).with_name("killed_writer.py")


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


def kill_everywhere(finished, base, *damaged):
    # Some 10,000 files are written and fsynced: in memory, where there is a place for that.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        command = [sys.executable, str(PROGRAM), str(finished), str(base), scratch, *damaged]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_first_build_may_die_anywhere(memories, tmp_path):
    first, _ = memories
    report = kill_everywhere(first, tmp_path / "nothing")
    assert report["problems"] == []
    assert report["operations"] > 100


def test_a_build_of_a_new_snapshot_may_die_anywhere(memories):
    first, finished = memories
    report = kill_everywhere(finished, first)
    assert report["problems"] == []
    assert report["operations"] > 100


def test_a_build_that_heals_may_die_anywhere(memories, tmp_path):
    first, _ = memories
    base = shutil.copytree(first, tmp_path / "damaged")
    manifest = open_store(base)[1]
    damaged = [manifest.tables["chunks"].partitions[0].files[0].path]
    damaged += [file.path for file in manifest.indexes["words"].shards[0].files[:2]]
    for path in damaged:
        (base / path).write_bytes(b"short")
    shard = [file.path for file in manifest.indexes["words"].shards[0].files]
    report = kill_everywhere(first, base, *damaged, *shard)
    assert report["problems"] == []
    assert report["operations"] > 30
