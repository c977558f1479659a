"""A disk that is full, for real: a small file system of its own, which Linux gives to every user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_memory import INDEXES, build_inline, write_corpus

PROGRAM = Path(__file__).with_name("full_disk.py")
MOUNT = ["unshare", "--user", "--map-root-user", "--mount"]


def build_on_full_disk(source, memory, disk, indexes):
    disk.mkdir()
    script = f'mount -t tmpfs -o size=16m none "$3" && exec "{sys.executable}" "{PROGRAM}" "$@"'
    arguments = [str(source), str(memory), str(disk), json.dumps(indexes)]
    tests = os.pathsep.join([str(PROGRAM.parent), str(PROGRAM.parent.parent)])
    done = subprocess.run(
        [*MOUNT, "sh", "-c", script, "sh", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": tests},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(autouse=True)
def _own_mounts():
    if shutil.which("unshare") is None or subprocess.run([*MOUNT, "true"], check=False).returncode != 0:
        pytest.skip("this system gives its users no mounts of their own")


def check(report):
    assert report["problems"] == []
    assert len(report["messages"]) >= 5
    for message in report["messages"]:
        assert "no space left" in message.lower()
        assert "again" in message and ": ." not in message
        assert "\n" not in message


def test_tables_and_words_on_a_full_disk(tmp_path):
    source, memory = tmp_path / "source", tmp_path / "memory"
    words = {"words": INDEXES["words"]}
    write_corpus(source, "a.jsonl", range(4), bad_row=True)
    build_inline(source, memory, words)
    write_corpus(source, "b.jsonl", range(4, 300))
    check(build_on_full_disk(source, memory, tmp_path / "disk", words))


def test_vectors_on_a_full_disk(small_memory, tmp_path):
    """The libraries of the dense engines write files of their own, and not all of them say when that fails."""
    memory = shutil.copytree(small_memory / "memory", tmp_path / "memory")
    indexes = {name: {**INDEXES[name], "seed": 1} for name in ("flat", "graph")}
    check(build_on_full_disk(small_memory / "source", memory, tmp_path / "disk", indexes))
