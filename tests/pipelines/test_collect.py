"""Snapshots and files that nobody needs are removed; what is kept, read or built again is as it was."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from library import records, write_jsonl
from rebuilds import Killed, die_after, unlock

import mnemodex
from mnemodex.pipelines import verify as verify_module
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import CorruptFileError, QueryError, SnapshotNotFoundError, WriterBusyError
from mnemodex.schemas.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from commands import Ran

    from mnemodex.pipelines.outcome import BuildResult


@pytest.fixture
def memory(tmp_path: Path, build: Callable[..., BuildResult]) -> Any:
    """A memory of BM25 over the library, with four snapshots."""
    write_jsonl(tmp_path / "notes" / "notes.jsonl", records())
    build()
    opened = mnemodex.open(tmp_path / "memory")
    for number in range(1, 4):
        opened.delete([f"mill-{number}"])
    return opened


def snapshots(memory: Any) -> list[str]:
    opened = mnemodex.open(memory.snapshot.store.root)
    return [name for (name,) in opened.sql("SELECT name FROM snapshots ORDER BY name").fetchall()]


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def texts(memory: Any) -> Any:
    return memory.sql("SELECT key, text FROM documents ORDER BY key").fetchall()


def test_snapshots_that_are_not_kept_are_removed(memory: Any, tmp_path: Path, cli: Callable[..., Ran]) -> None:
    before = texts(memory)
    result = memory.gc(keep=2)
    assert (result.snapshots, result.pinned, result.kept) == (["000002", "000001"], [], 2)
    assert result.files > 2 and result.bytes > 0
    opened = mnemodex.open(tmp_path / "memory")
    assert snapshots(opened) == ["000003", "000004"]
    assert texts(opened) == before
    assert len(texts(mnemodex.open(tmp_path / "memory", snapshot=3))) == len(before) + 1
    with pytest.raises(
        SnapshotNotFoundError, match="`mnemodex gc` removed the snapshot '1'; there are: 000003, 000004"
    ):
        mnemodex.open(tmp_path / "memory", snapshot=1)
    assert verify(tmp_path / "memory").problems == []
    again = memory.gc(keep=2)
    assert (again.snapshots, again.files, again.kept) == ([], 0, 2)


def test_a_build_after_a_collection_computes_nothing(
    memory: Any, tmp_path: Path, build: Callable[..., BuildResult]
) -> None:
    build()
    memory.gc(keep=1)
    (tmp_path / "memory" / "work" / "built.json").unlink(missing_ok=True)
    result = build()
    assert not result.committed
    assert [step.name for step in result.steps if step.computed] == []


def test_history_passes_over_several_gaps(memory: Any, tmp_path: Path) -> None:
    with_two = mnemodex.open(tmp_path / "memory", snapshot=2)
    assert memory.gc(keep=1).pinned == ["000002"]
    memory.delete(["hi"])
    memory.delete(["title only"])
    assert memory.gc(keep=1).snapshots == ["000005", "000004"]
    assert snapshots(memory) == ["000002", "000006"]
    assert verify(tmp_path / "memory").problems == []
    assert len(texts(with_two)) == len(records()) - 1
    with_two.close()
    assert memory.gc(keep=1).snapshots == ["000002"]
    assert snapshots(memory) == ["000006"]


def test_age_keeps_snapshots(memory: Any) -> None:
    assert memory.gc(older_than="1h").snapshots == []
    assert memory.gc(keep=1, older_than="7d").snapshots == []
    assert memory.gc(older_than="0s").kept == 1


def test_without_rules_only_files_go_that_no_snapshot_names(memory: Any, tmp_path: Path) -> None:
    root = tmp_path / "memory"
    before = files(root)
    orphan = root / "tables" / "documents" / "left-0-1.parquet"
    orphan.write_bytes(b"left by a build that died")
    result = memory.gc()
    assert (result.snapshots, result.files, result.bytes, result.kept) == ([], 1, 25, 4)
    assert files(root) - {"snapshots/collected.json"} == before - {"work/built.json"}


def test_a_dry_run_removes_nothing(memory: Any, tmp_path: Path, cli: Callable[..., Ran]) -> None:
    root = tmp_path / "memory"
    before = files(root)
    planned = cli("gc", root, "--keep", 1, "--dry-run", "--json").json
    assert files(root) == before
    done = cli("gc", root, "--keep", 1, "--json").json
    assert (planned.pop("dry_run"), done.pop("dry_run")) == (True, False)
    assert planned == done
    assert len(before - files(root)) == done["files"]
    assert "0 snapshots and 0 files (0 B) removed; 1 snapshot kept" in cli("gc", root, "--keep", 1).out


def test_a_reader_of_another_process_pins_its_snapshot(memory: Any, tmp_path: Path) -> None:
    root = tmp_path / "memory"
    for path in (root / "snapshots").glob("*.json"):
        path.chmod(0o444)
    reading, writing = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        unpin = Store(root).pin("000002")
        os.write(reading[1], b"x")
        os.read(writing[0], 1)
        unpin()
        os._exit(0)
    os.read(reading[0], 1)
    assert memory.gc(keep=1).pinned == ["000002"]
    os.write(writing[1], b"x")
    os.waitpid(child, 0)
    assert memory.gc(keep=1).snapshots == ["000002"]


def test_retrievers_of_a_former_snapshot_pin_it(memory: Any) -> None:
    former = memory.retriever("words")
    memory.delete(["hi"])
    assert memory.gc(keep=1).pinned == ["000004"]
    assert former.search(["mill"], 3)[0][0].key
    del former
    assert memory.gc(keep=1).snapshots == ["000004"]


@pytest.mark.parametrize("writes", [0, 3, 7, 14, 20, 30])
def test_a_collection_that_died_leaves_a_sound_memory(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    root, expected = tmp_path / "memory", texts(memory)
    with monkeypatch.context() as patch:
        dead = die_after(writes, patch, deletes=True)
        try:
            memory.gc(keep=1)
        except Killed:
            unlock(dead)
    assert verify(root).problems == []
    assert texts(mnemodex.open(root)) == expected
    memory.add([{**records()[0], "id": "new"}])
    memory.gc(keep=1)
    assert not Store(root).collected().pending
    assert verify(root).problems == []
    assert snapshots(memory) == ["000005"]
    assert memory.gc(keep=1).files == 0


def test_a_collection_meanwhile_is_no_damage(memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = verify_module._check_sealed

    def collect_first(*given: Any) -> None:
        memory.gc(keep=1)
        check(*given)

    memory.compact()
    monkeypatch.setattr(verify_module, "_check_sealed", collect_first)
    assert verify(tmp_path / "memory").problems == []


def test_damage_elsewhere_is_still_reported(memory: Any, tmp_path: Path) -> None:
    root = tmp_path / "memory"
    memory.gc(keep=2)
    before = files(root)
    (root / "snapshots" / "000003.json").unlink()
    assert any("000003.json" in problem for problem in verify(root).problems)
    with pytest.raises(CorruptFileError, match=r"000003.json.*missing"):
        memory.gc(keep=1)
    assert before - files(root) == {"snapshots/000003.json"}


def test_a_damaged_list_of_what_was_collected_is_reported(memory: Any, tmp_path: Path) -> None:
    root = tmp_path / "memory"
    memory.gc(keep=2)
    path = root / "snapshots" / "collected.json"
    path.write_text(json.dumps({"gaps": []}))
    assert any("which snapshots were removed" in problem for problem in verify(root).problems)
    assert mnemodex.open(root).retriever("words").search(["mill"], 3)[0]


def test_a_damaged_list_file_stops_a_collection(memory: Any, tmp_path: Path) -> None:
    root = tmp_path / "memory"
    for path in (root / "snapshots" / "lists").iterdir():
        path.write_bytes(b"damaged")
    before = files(root)
    with pytest.raises(CorruptFileError):
        mnemodex.open(root).gc(keep=1)
    assert files(root) == before


def test_what_is_wrong_removes_nothing(memory: Any, tmp_path: Path, cli: Callable[..., Ran]) -> None:
    for wrong, message in (({"keep": 0}, "at least 1"), ({"older_than": "1 week"}, "write 7d")):
        with pytest.raises(QueryError, match=message):
            memory.gc(**wrong)
    assert cli("gc", tmp_path / "nowhere").code == 2
    with Store(tmp_path / "memory").lock(), pytest.raises(WriterBusyError):
        memory.gc(keep=1)
    assert snapshots(memory) == ["000001", "000002", "000003", "000004"]
