"""A build that lost its lease while it was stopped: another build writes, and neither takes the other's files away."""

from __future__ import annotations

import threading

import pyarrow as pa
import pytest
from builds import keys
from library import records, words_recipe, write_jsonl

import mnemodex
from mnemodex.pipelines.ops import checkpoint as module
from mnemodex.pipelines.ops.checkpoint import Checkpoint
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import CommitFailedError
from mnemodex.schemas.store.store import Store

pytestmark = pytest.mark.usefixtures("inline")

RECIPE = {"indexes": {"words": {"type": "bm25"}}}
FIRST, SECOND = records()[:4], records()[4:9]


def names(rows):
    return sorted(row["id"] for row in rows)


@pytest.fixture
def memory(tmp_path):
    return tmp_path / "memory"


def build(memory, rows):
    return mnemodex.build(RECIPE, memory=memory, source=rows)


def test_documents_of_a_build_that_wakes_up_late_are_its_own(memory):
    def interrupted():
        yield from FIRST[:2]
        (memory / "LEASE").unlink()
        assert build(memory, iter(SECOND)).committed
        yield from FIRST[2:]

    with pytest.raises(CommitFailedError, match="another writer committed first"):
        build(memory, interrupted())
    assert keys(memory) == names(SECOND)
    assert verify(memory).problems == []
    assert build(memory, FIRST).committed
    assert keys(memory) == names(FIRST)


def test_a_build_that_wakes_up_late_leaves_the_files_of_the_other_one(memory):
    stopped, go, ended = threading.Event(), threading.Event(), []

    def slow():
        yield from FIRST[:2]
        stopped.set()
        assert go.wait(60)
        yield from FIRST[2:]

    def late():
        ended.append(build(memory, slow()))

    def meanwhile():
        yield from SECOND[:2]
        mine = plant(memory) | (unfinished(memory) - theirs)
        go.set()
        sleeper.join(60)
        assert ended[0].committed and len(mine) > 3 and mine <= unfinished(memory)
        yield from SECOND[2:]

    sleeper = threading.Thread(target=late)
    sleeper.start()
    assert stopped.wait(60)
    (memory / "LEASE").unlink()
    theirs = unfinished(memory)
    with pytest.raises(CommitFailedError, match="another writer committed first"):
        build(memory, meanwhile())
    assert keys(memory) == names(FIRST)
    assert build(memory, SECOND).committed
    assert keys(memory) == names(SECOND) and verify(memory).problems == []


def plant(memory):
    """Write what a build has at shared places: work that is kept, and what it found out of a source."""
    paths = {memory / "work" / name / "f-00000-0.arrow" for name in ("partial", "plan/files", "plan/partitions")}
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def unfinished(memory):
    return {path for path in (memory / "work").rglob("*") if path.is_file()}


def test_what_former_builds_left_is_removed_by_one_that_ends(memory, tmp_path):
    source = write_jsonl(tmp_path / "notes.jsonl", FIRST)
    memory.mkdir()
    left = plant(memory)
    mnemodex.build(words_recipe(source, memory))
    assert not [path for path in left if path.exists()]
    assert [path.name.partition("-")[0] for path in (memory / "work" / "plan").rglob("*.json")]


def test_kept_work_of_another_writer_stays(memory, monkeypatch):
    monkeypatch.setattr(module, "SECONDS", -1.0)
    store = Store(memory)
    store.prepare()
    first, second = Checkpoint(store, "f"), Checkpoint(store, "f")
    first.add(pa.record_batch({"row": pa.array([1])}))
    second.add(pa.record_batch({"row": pa.array([2])}))
    first.remove()
    assert [batch["row"].to_pylist() for batch in Checkpoint(store, "f").load()] == [[2]]
    third = Checkpoint(store, "f")
    assert len(list(third.load())) == 1
    third.remove()
    assert list(Checkpoint(store, "f").load()) == []
