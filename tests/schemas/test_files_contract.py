"""What the store asks of a folder and of an object store alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from stores import commit, find, manifest, publish

from mnemodex.schemas.errors import CommitFailedError, CorruptFileError, WriterBusyError
from mnemodex.schemas.store.store import Store

TABLE = "tables/notes/a-f1"
SHARD = "indexes/words/a-f1"


@pytest.fixture(params=["folder", "s3"])
def root(request, tmp_path):
    if request.param == "folder":
        return str(tmp_path / "memory")
    return f"{request.getfixturevalue('bucket')}/memories/notes"


@pytest.fixture
def store(root):
    made = Store(root)
    made.prepare()
    return made


def test_files_are_put_whole_and_are_found(store):
    files = store.files
    assert files.put_if_absent("work/one", b"first")
    assert not files.put_if_absent("work/one", b"second")
    assert files.read("work/one") == b"first"
    files.put("work/one", b"third")
    files.put("work/inner/über two", b"")
    assert (files.read("work/one"), files.size("work/one"), files.size("work/two")) == (b"third", 5, None)
    assert (files.exists("work/one"), files.exists("work/two")) == (True, False)
    assert files.names("work") == ["inner", "one"]
    assert [*files.list("work")] == ["work/inner/über two", "work/one"]
    assert [*files.list("elsewhere")] == files.names("elsewhere") == []
    with pytest.raises(FileNotFoundError):
        files.read("work/two")
    with pytest.raises(OSError, match="more than 4 bytes"):
        files.read("work/one", most=4)
    files.delete("work/nothing")
    files.delete("work/inner")
    assert [*files.list("work")] == ["work/one"]


def test_attempts_are_local_and_leave_nothing(store):
    attempt = store.files.attempt()
    assert attempt.is_dir()
    assert attempt.is_relative_to(store.files.scratch)
    (attempt / "file").write_text("content")
    store.files.delete(attempt.relative_to(store.files.scratch).as_posix())
    assert not attempt.exists()
    assert store.files.names("work") == []


@pytest.mark.parametrize("place", [TABLE, SHARD])
def test_what_is_published_is_found_and_read_by_another_process(store, root, place):
    published = publish(store, place, rows=3)
    assert find(store, place) == published
    assert publish(store, place, "second, and longer") == published
    other = Store(root)
    assert find(other, place) == published
    for file in published.files:
        assert other.files.local(file).read_text().startswith("content")
        assert other.files.path(file.path) == other.files.local(file)
        other.files.check(file)


@pytest.mark.parametrize("harm", ["changed", "longer", "gone"])
def test_a_damaged_file_is_not_read(store, root, harm):
    (file,) = publish(store, TABLE).files
    if harm == "gone":
        store.files.delete(file.path)
    else:
        store.files.put(file.path, b"tampere" if harm == "changed" else b"longer than it was")
    words = {"changed": "differs from its checksum", "longer": "bytes where the manifest says", "gone": "missing"}
    with pytest.raises(CorruptFileError, match=words[harm]):
        Store(root).files.check(file)


def test_snapshots_follow_each_other(store, root):
    assert store.current() is None
    first = commit(store, TABLE)
    second = commit(store, TABLE, SHARD)
    other = Store(root)
    current = other.current()
    assert current is not None
    assert (current.name, current.parent) == (second.name, first.name) == ("000002", "000001")
    assert [one.name for one in other.history(current)] == ["000002", "000001"]
    assert other.at(1).name == "000001"


def test_of_two_writers_of_one_snapshot_one_wins(store, root):
    former = commit(store, TABLE)
    one, two = manifest([publish(store, TABLE)]), manifest([publish(store, SHARD)])
    won = store.commit(one, former=former)
    with pytest.raises(CommitFailedError, match="another writer committed first"):
        Store(root).commit(two, former=former)
    current = Store(root).current()
    assert current is not None
    assert (current.name, [*current.tables], [*current.indexes]) == (won.name, ["notes"], [])


def test_the_newest_snapshot_is_found_without_current(store, root):
    commit(store, TABLE)
    line = store.files.read("CURRENT")
    commit(store, SHARD)
    store.files.put("CURRENT", line)
    current = Store(root).current()
    assert current is not None
    assert current.name == "000002"


def test_only_one_holds_the_lease(store, root):
    with store.lock(), pytest.raises(WriterBusyError), Store(root).lock():
        pass
    with Store(root).lock():
        pass
    assert Path(str(root)).name == "memory" or store.files.names(".") == []
