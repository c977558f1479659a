from __future__ import annotations

import hashlib
import io
import json
import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stores import commit, publish

from mnemodex.retrievers.snapshot import Snapshot
from mnemodex.schemas.errors import CorruptFileError, MemoryNotFoundError, NewerFormatError
from mnemodex.schemas.manifest import FORMAT, FileEntry
from mnemodex.schemas.store.store import Store, open_store

TABLE = "tables/notes/a-f1"
SHARD = "indexes/words/a-f1"


def test_a_snapshot_keeps_its_answers_after_later_commits(store):
    commit(store, TABLE)
    pinned = Snapshot.open(store.root)
    before = pinned.manifest
    commit(store, TABLE, SHARD)
    assert pinned.manifest == before
    assert [item.name for item in pinned.store.history(pinned.manifest)] == ["000001"]
    assert Snapshot.open(store.root).manifest.name == "000002"


def test_a_folder_that_is_not_there_or_empty_is_no_memory(tmp_path):
    for root, message in ((tmp_path / "gone", "no such memory"), (tmp_path, "its first build has not finished")):
        with pytest.raises(MemoryNotFoundError, match=message):
            open_store(root)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "holiday.jpg").write_text("picture")
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "disk.img").write_text("of a virtual machine")
    with pytest.raises(MemoryNotFoundError, match=r"not a memory \(it holds 'holiday\.jpg'\); choose an empty"):
        Store(tmp_path).prepare()
    (tmp_path / "holiday.jpg").unlink()
    Store(tmp_path).clean()
    assert (tmp_path / "snapshots" / "disk.img").exists()


@pytest.mark.parametrize("below", ["", "/memory"])
def test_a_file_in_place_of_the_folder_is_refused(tmp_path, below):
    (tmp_path / "file").write_text("")
    with pytest.raises(MemoryNotFoundError, match="choose another folder"):
        Store(f"{tmp_path}/file{below}").prepare()


# Finding the newest snapshot


@pytest.mark.parametrize("harm", ["missing", "damaged", "behind", "of another checksum"])
def test_the_newest_snapshot_is_found_whatever_current_says(store, harm):
    first = commit(store, TABLE, recipe_hash="1")
    behind = (store.root / "CURRENT").read_bytes()
    newest = [commit(store, TABLE, recipe_hash=str(number)) for number in (2, 3)][-1]
    (store.root / "CURRENT").unlink()
    if harm != "missing":
        other = {"behind": behind, "damaged": b"nonsense\n", "of another checksum": b"000003 " + b"0" * 64 + b"\n"}
        (store.root / "CURRENT").write_bytes(other[harm])
    assert store.is_named() == (harm == "behind")
    store, found = open_store(store.root)
    assert found == newest and list(store.history(found))[-1] == first
    assert store.found() == newest
    assert store.is_named() == (harm == "behind")
    store.clean()
    assert store.is_named()
    assert commit(store, SHARD).name == "000004"
    assert open_store(store.root)[1].name == "000004"


@pytest.mark.parametrize("data", [b"", b"of somebody else", None])
def test_a_newest_snapshot_that_is_damaged_is_named_with_both_remedies(store, data):
    former = commit(store, TABLE, recipe_hash="1")
    commit(store, TABLE, recipe_hash="2")
    (store.root / "CURRENT").unlink()
    path = store.root / "snapshots" / "000002.json"
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b"notes", b"other") if data is None else data)
    message = f"{path}: is the newest snapshot, and differs from its checksum; .* or remove it and CURRENT"
    with pytest.raises(CorruptFileError, match=message):
        open_store(store.root)
    path.unlink()
    assert open_store(store.root)[1] == former
    path.write_bytes(sound)
    assert open_store(store.root)[1].name == "000002"


def test_a_newest_snapshot_that_is_lost_is_missed(store):
    commit(store, TABLE, recipe_hash="1")
    commit(store, TABLE, recipe_hash="2")
    (store.root / "snapshots" / "000002.json").unlink()
    with pytest.raises(CorruptFileError, match=r"000002\.json, named in .*CURRENT: missing; restore it from a copy"):
        open_store(store.root)


def test_a_folder_in_place_of_a_snapshot_is_damage(store):
    commit(store, TABLE)
    (store.root / "snapshots/000001.json").unlink()
    (store.root / "snapshots/000001.json").mkdir()
    with pytest.raises(CorruptFileError, match=r"snapshots/000001\.json"):
        open_store(store.root)


# Manifests that someone made


def forge(store: Store, change) -> None:
    """Replace the current manifest by a changed one, with the right SHA-256."""
    path = store.root / "snapshots" / f"{store.current().name}.json"
    content = json.loads(path.read_text())
    data = change(content)
    data = json.dumps(content).encode() if data is None else data
    path.write_bytes(data)
    (store.root / "CURRENT").write_text(f"{path.stem} {hashlib.sha256(data).hexdigest()}\n")


def test_a_newer_format_is_refused_whatever_else_it_has(store):
    commit(store, TABLE)
    forge(store, lambda content: content.update(format=FORMAT + 1, invented="later"))
    with pytest.raises(NewerFormatError, match=f"has format {FORMAT + 1}.*install a newer mnemodex"):
        open_store(store.root)


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "tables/../../secret", "a\\..\\b", "a\0b", ""])
def test_a_path_that_leaves_the_folder_is_refused(store, path):
    commit(store, TABLE)
    artifact = store.current().tables["notes"].partitions[0].model_dump(mode="json")
    artifact["files"][0]["path"] = path
    forge(store, lambda content: content["tables"]["notes"].update(partitions=[artifact]))
    with pytest.raises(CorruptFileError, match="leaves the memory's folder"):
        open_store(store.root)


@pytest.mark.parametrize(
    ("forged", "message"),
    [
        (
            {"label": ["a"], "fingerprint": ["f1"], "artifact": ['{"files": [{"path": "/etc/passwd"}]}']},
            "names no artif",
        ),
        ({"label": ["a", "b"], "fingerprint": ["f", "f"], "artifact": ["{}", "{}"]}, "is not what the snapshot says"),
        ({"label": ["a"]}, "is not what the snapshot says"),
        (b"PAR1 and then nothing", "is no list file"),
    ],
)
def test_a_list_file_that_someone_made_is_refused(store, forged, message):
    commit(store, TABLE)
    sink = io.BytesIO(forged if isinstance(forged, bytes) else b"")
    if isinstance(forged, dict):
        pq.write_table(pa.table(forged), sink)
    name = hashlib.sha256(sink.getvalue()).hexdigest()
    store.files.put(f"snapshots/lists/{name}.parquet", sink.getvalue())
    forge(store, lambda content: content["tables"]["notes"]["partitions"]["lists"][0].update(sha256=name))
    opened = open_store(store.root)[1]
    assert opened.tables["notes"].rows == 1
    with pytest.raises(CorruptFileError, match=rf"{name}\.parquet: {message}"):
        list(opened.tables["notes"].partitions)


@pytest.mark.parametrize("data", [b"[]", b"null", b"{", b'"text"', b"\xff\xfe", b"[" * 10])
def test_a_manifest_of_another_shape_is_refused(store, data):
    commit(store, TABLE)
    forge(store, lambda _: data)
    with pytest.raises(CorruptFileError, match=r"000001\.json"):
        open_store(store.root)


@pytest.mark.parametrize("key", ["surprise", "format", "recipe.x"])
def test_an_unknown_or_ill_typed_key_of_a_manifest_is_named(store, key):
    commit(store, TABLE)
    section, _, inner = key.partition(".")
    forge(store, lambda content: content.update({section: [inner] if inner else "one"}))
    with pytest.raises(CorruptFileError, match=rf"is not a manifest \({section}: "):
        open_store(store.root)


# Checking


def test_links_are_followed_inside_the_folder_only(store, tmp_path):
    entry = publish(store, TABLE).files[0]
    path = store.root / entry.path
    inside, outside = path.with_name("copy.txt"), tmp_path / "outside.txt"
    for target, fine in ((inside, True), (outside, False)):
        shutil.copy(path, target)
        path.unlink()
        path.symlink_to(target)
        if fine:
            store.files.check(entry)
        else:
            with pytest.raises(CorruptFileError, match="leads out of the memory's folder"):
                store.files.check(entry)


def test_a_file_that_cannot_be_read_is_named(store):
    entry = FileEntry(path="tables/notes", bytes=1, sha256="0" * 64)
    path = publish(store, TABLE).files[0].path
    # A folder has a size too, but no content.
    size = (store.root / "tables/notes").stat().st_size
    with pytest.raises(CorruptFileError, match=r"tables/notes: cannot be read \(Is a directory\)"):
        store.files.local(entry.model_copy(update={"bytes": size}))
    with pytest.raises(CorruptFileError, match=r"cannot be read \(Not a directory"):
        store.files.local(entry.model_copy(update={"path": f"{path}/inner"}))


def test_a_file_is_hashed_once_until_it_changes(store, monkeypatch):
    entry = publish(store, TABLE).files[0]
    hashed = []
    monkeypatch.setattr(
        "mnemodex.schemas.store.local_files.sha256",
        lambda path: hashed.append(path) or hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    for _ in range(3):
        path = store.files.local(entry)
    assert hashed == [], "it was hashed when it was published"
    reader = Store(store.root)
    for _ in range(3):
        reader.files.local(entry)
    assert hashed == [path]
    stat = path.stat()
    path.write_text(path.read_text().upper())
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(CorruptFileError, match="differs from its checksum; remove it and run the build again"):
        store.files.local(entry)
