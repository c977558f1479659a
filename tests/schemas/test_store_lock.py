"""Two writers, and readers next to a writer, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import time

import pytest
from library import records, words_recipe, write_jsonl
from stores import commit, commit_on_and_on, hold_the_lock

import mnemodex
from mnemodex.retrievers.snapshot import Snapshot
from mnemodex.schemas.errors import MnemodexError, WriterBusyError
from mnemodex.schemas.store.store import open_store

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def holder(store):
    """A process that holds the store's lock."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=hold_the_lock, args=(str(store.root), theirs))
    process.start()
    assert ours.recv() == "held"
    yield process
    process.kill()
    process.join()


def test_a_second_writer_is_refused_at_once(store, holder):
    started = time.monotonic()
    with pytest.raises(WriterBusyError, match="another build is writing to this memory"), store.lock():
        pass
    assert time.monotonic() - started < 1
    assert holder.is_alive()


def test_the_lock_vanishes_with_a_killed_writer(store, holder):
    holder.kill()
    holder.join()
    with store.lock():
        store.clean()


def test_a_second_build_is_refused_and_changes_nothing(store, holder, inline, tmp_path):
    source = write_jsonl(tmp_path / "source.jsonl", records()[:2])
    with pytest.raises(WriterBusyError, match=str(store.root)):
        mnemodex.build(words_recipe(source, store.root))
    assert store.files.names(".") == ["LEASE"]
    assert inline.computed == 0


def test_a_lock_is_given_back_on_the_way_out(store):
    for _ in range(2):
        with pytest.raises(ValueError, match="inside"), store.lock():
            raise ValueError("inside")


def test_readers_beside_a_writer_see_whole_snapshots_that_only_go_forward(store):
    commit(store, "tables/notes/a-f0")
    pinned = Snapshot.open(store.root)
    before = pinned.manifest.model_dump()
    writer = SPAWN.Process(target=commit_on_and_on, args=(str(store.root),))
    writer.start()
    try:
        seen = watch(store.root, until=10, seconds=20)
    finally:
        writer.kill()
        writer.join()
    assert len(seen) >= 10
    assert seen == sorted(seen)
    assert pinned.manifest.model_dump() == before
    assert pinned.path("notes", "a", ".txt").read_text() == "content"


def watch(root, *, until: int, seconds: float) -> list[str]:
    """Open the memory again and again, and check all files of what is there; the names of the snapshots seen."""
    seen: list[str] = []
    end = time.monotonic() + seconds
    while len(seen) < until and time.monotonic() < end:
        store, manifest = open_store(root)
        for artifact in manifest.artifacts():
            for entry in artifact.files:
                store.files.local(entry)
        assert len(list(store.history(manifest))) == int(manifest.name)
        if not seen or seen[-1] != manifest.name:
            seen.append(manifest.name)
    return seen


def test_a_folder_that_cannot_be_written_to_is_named_with_its_remedy(store):
    # Permissions do not stop a superuser.
    (store.root / "LEASE").mkdir(parents=True)
    message = f"^{store.root}: cannot be written to .*; make the folder writable, or choose another$"
    with pytest.raises(MnemodexError, match=message), store.lock():
        pass
