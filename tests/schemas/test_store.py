from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pytest
from stores import commit, find, manifest, publish

from mnemodex.schemas.errors import CommitFailedError, CommitStateUnknownError, CorruptFileError
from mnemodex.schemas.store.store import Store

TABLE = "tables/notes/a-f1"
SHARD = "indexes/words/a-f1"


# Publishing and finding


@pytest.mark.parametrize("place", [TABLE, SHARD, "tables/embeddings/minilm/a.jsonl-00000-f1"])
def test_what_is_published_is_found_under_its_fingerprint_only(store, place):
    published = publish(store, place, rows=3)
    assert find(store, place) == published
    assert (published.place, published.rows) == (place, 3)
    assert published.bytes == sum((store.root / file.path).stat().st_size for file in published.files)
    for other in (f"{place}x", place.replace("/a", "/b")):
        assert find(store, other) is None
    assert store.files.names("work") == []


@pytest.mark.parametrize("place", [TABLE, SHARD])
def test_what_another_worker_published_first_stays(store, place):
    first = publish(store, place, "first")
    assert publish(store, place, "second, and longer") == first
    assert (store.root / first.files[0].path).read_text() == "first"


@pytest.mark.parametrize("place", [TABLE, SHARD])
@pytest.mark.parametrize("harm", ["shorter", "gone", "no marker", "bad marker"])
def test_a_result_that_is_not_whole_is_not_found_and_is_published_anew(store, place, harm):
    published = publish(store, place, "first")
    marker = store.root / f"{place}.json"
    data = store.root / published.files[-1].path
    if harm == "shorter":
        data.write_text("f")
    elif harm == "gone":
        data.unlink()
    elif harm == "no marker":
        marker.unlink()
    else:
        marker.write_text(marker.read_text().replace('"rows": 1', '"rows": 2'))
    assert find(store, place) is None
    second = publish(store, place, "second")
    assert find(store, place) == second
    assert [store.files.local(file).is_file() for file in second.files] == [True] * len(second.files)
    store.clean()
    assert store.files.names("work") == []


# Committing


def test_a_commit_names_its_parent_and_history_goes_back_to_the_first(store):
    assert store.current() is None
    names = [commit(store, TABLE, recipe_hash=str(number)).name for number in range(3)]
    assert names == ["000001", "000002", "000003"]
    current = store.current()
    assert [(item.name, item.parent) for item in store.history(current)] == [
        ("000003", "000002"),
        ("000002", "000001"),
        ("000001", None),
    ]
    assert datetime.fromisoformat(current.created).tzinfo is None


def test_a_commit_over_a_snapshot_that_is_there_fails_and_changes_nothing(store):
    first = commit(store, TABLE)
    other = store.root / "snapshots" / "000002.json"
    other.write_text("of somebody else")
    with pytest.raises(CommitFailedError, match=r"000002\.json already exists: another writer committed first"):
        store.commit(manifest([publish(store, SHARD)]), former=first)
    assert other.read_text() == "of somebody else"
    with pytest.raises(CorruptFileError, match=r"000002\.json: is the newest snapshot, and differs"):
        store.current()
    other.unlink()
    assert store.current() == first


@pytest.mark.parametrize("step", ["link", "replace"])
def test_a_commit_that_the_disk_refuses_fails_and_changes_nothing(store, monkeypatch, step):
    first = commit(store, TABLE)
    new = manifest([publish(store, SHARD)])

    def refuse(source, target, **_):
        raise OSError(28, "No space left on device", str(target))

    with monkeypatch.context() as patch:
        patch.setattr(os, step, refuse)
        with pytest.raises(CommitFailedError, match="the former snapshot is current") as failure:
            store.commit(new, former=store.current())
    assert "No space left on device" in str(failure.value)
    assert store.current() == first
    with store.lock():
        store.clean()
        assert store.commit(new, former=store.current()).name == "000002"


def test_a_commit_that_the_disk_does_not_confirm_is_of_unknown_state(store, monkeypatch):
    commit(store, TABLE)
    new = manifest([publish(store, SHARD)])
    sync = os.fsync

    def refuse_the_folder(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").resolve() == (store.root / "snapshots").resolve():
            raise OSError(5, "Input/output error")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_the_folder)
    with pytest.raises(CommitStateUnknownError, match=r"000002\.json may be there, but the disk.*show"):
        store.commit(new, former=store.current())
    assert store.current().same_content(new)


def test_before_a_snapshot_is_there_everything_it_leads_to_is_on_disk(tmp_path, monkeypatch):
    """Each file and folder on the way to it was fsynced after its last change: a power cut loses nothing committed."""
    step = 0
    synced: dict[int, int] = {}
    changed: dict[int, int] = {}

    def sync(descriptor, real=os.fsync):
        nonlocal step
        step += 1
        real(descriptor)
        # By inode: a file is synced under its draft's name before it gets its own.
        synced[os.fstat(descriptor).st_ino] = step

    def changes(name, place):
        real = getattr(os, name)

        def change(*arguments, **options):
            nonlocal step
            step += 1
            if Path(arguments[place]).name == "000001.json":
                check()
            real(*arguments, **options)
            changed[Path(arguments[place]).parent.stat().st_ino] = step

        monkeypatch.setattr(os, name, change)

    def check():
        files = [store.root / file.path for part in parts for file in part.files]
        files += [store.root / f"{TABLE}.json", *(store.root / "snapshots" / "lists").iterdir()]
        paths = {path for file in files for path in (file, *file.parents) if path.is_relative_to(tmp_path)}
        late = {path: changed.get(path.stat().st_ino, 0) for path in paths}
        assert {path for path, when in late.items() if synced.get(path.stat().st_ino, -1) < when} == set()

    monkeypatch.setattr(os, "fsync", sync)
    for name, place in (("replace", 1), ("link", 1), ("mkdir", 0)):
        changes(name, place)
    store = Store(tmp_path / "memory")
    store.prepare()
    parts = [publish(store, TABLE), publish(store, SHARD), publish(store, "tables/embeddings/minilm/a-f1")]
    store.commit(manifest(parts), former=None)
    folder = (store.root / "snapshots").stat().st_ino
    assert synced[folder] > changed[folder]


# Cleaning


def test_clean_removes_what_is_unfinished_and_nothing_else(store):
    commit(store, TABLE, SHARD)
    files = sorted(store.files.list("."))
    # As the version before left them, and as a writer that died does.
    for path in ("work/attempt-1/half", "work/run-1/deaths/0", "work/attempt-2.alive"):
        store.files.put(path, b"")
    kept = {"work/plan-1.json": b"{}", "snapshots/notes.txt": b"not ours"}
    for path, data in kept.items():
        store.files.put(path, data)
    store.clean()
    assert sorted(store.files.list(".")) == sorted([*files, *kept])


def test_clean_leaves_the_attempts_of_writers_that_live(store):
    other = Store(store.root)
    attempts = [store.files.attempt(), other.files.attempt(), other.files.attempt("run")]
    store.clean()
    assert all(attempt.is_dir() for attempt in attempts)
    for attempt in attempts[1:]:
        other.files.delete(f"work/{attempt.name}")
    store.clean()
    assert store.files.names("work") == [attempts[0].name, f"{attempts[0].name}.alive"]
