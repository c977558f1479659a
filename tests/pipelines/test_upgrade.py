"""A memory of format 2: whatever opens it says what to do, and `upgrade` does it."""

from __future__ import annotations

import hashlib
import re
import shutil

import pytest
from commands import assert_refused
from format2 import write_format_2
from library import records, write_jsonl
from small_memory import answers, build_again

import mnemodex
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import CorruptFileError, MemoryNotFoundError, OlderFormatError, WriterBusyError
from mnemodex.schemas.manifest import FORMAT
from mnemodex.schemas.store.store import Store, open_store

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def recipe(recipe):
    """Without typed columns, which format 2 did not have."""
    return {**recipe, "source": {**recipe["source"], "metadata": {}}}


@pytest.fixture
def old(recipe, tmp_path):
    """A memory of format 2, with two snapshots."""
    mnemodex.build(recipe)
    write_jsonl(tmp_path / "notes" / "more.jsonl", records()[6:8])
    mnemodex.build(recipe)
    write_format_2(tmp_path / "memory")
    return tmp_path / "memory"


def files(memory):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in memory.rglob("*") if path.is_file()}


def message(memory):
    return (
        f"{memory}: has format 2 of a former version, this version reads format {FORMAT}; run `mnemodex upgrade "
        f"{memory}`, which leaves its data as they are"
    )


def test_opening_building_and_verifying_say_what_to_do_and_change_nothing(old, recipe):
    before = files(old)
    for opens in (mnemodex.open, verify):
        with pytest.raises(OlderFormatError) as caught:
            opens(old)
        assert str(caught.value) == message(old)
    for dry_run in (False, True):
        with pytest.raises(OlderFormatError) as caught:
            mnemodex.build(recipe, dry_run=dry_run)
        assert str(caught.value) == message(old)
    assert files(old) == before


def test_the_command_upgrades_without_touching_a_file_that_was_there(old, cli, recipe):
    before = files(old)
    assert_refused(cli("show", old), saying=message(old))
    assert "snapshot 000003 has format 3" in cli("upgrade", old).err
    after = files(old)
    assert {path: after[path] for path in before if path.name != "CURRENT"} == {
        path: kept for path, kept in before.items() if path.name != "CURRENT"
    }
    store, current = open_store(old)
    history = list(store.history(current))
    assert [(one.name, one.format) for one in history] == [("000003", 3), ("000002", 2), ("000001", 2)]
    assert current.same_files(history[1]) and not current.same_content(history[2])
    assert verify(old).problems == []
    result = mnemodex.build(recipe)
    assert (result.committed, sum(step.computed for step in result.steps)) == (False, 0)


def test_an_upgraded_memory_is_upgraded(old, cli):
    for _ in range(2):
        assert "snapshot 000003 has format 3" in cli("upgrade", old).err


def test_every_kind_of_index_answers_as_before(small_memory, tmp_path):
    memory = shutil.copytree(small_memory / "memory", tmp_path / "memory")
    before = answers(memory)
    write_format_2(memory)
    Store(memory).upgrade()
    after = answers(memory)
    assert len(after.pop("sql snapshots")) == len(before.pop("sql snapshots")) + 1
    for answer in (before, after):
        answer["sql files"] = sorted([*row.items()][:-1] for row in answer["sql files"])
    assert after == before
    assert verify(memory).problems == []
    assert not build_again(small_memory, memory).committed


def test_nothing_is_upgraded_where_there_is_no_memory_or_another_writer(old, cli, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "gone"):
        assert_refused(cli("upgrade", tmp_path / folder), saying=f"{tmp_path / folder}: ")
    with pytest.raises(MemoryNotFoundError):
        Store(tmp_path / "empty").upgrade()
    before = files(old)
    with Store(old).lock(), pytest.raises(WriterBusyError):
        Store(old).upgrade()
    assert files(old) == before


def test_what_is_damaged_in_an_upgraded_memory_is_made_again_where_it_was(old, recipe):
    Store(old).upgrade()
    current = open_store(old)[1]
    removed = [old / current.tables["chunks"].partitions[0].files[0].path]
    removed += [old / file.path for file in current.indexes["words"].shards[0].files]
    before = {path: path.read_bytes() for path in removed}
    for path in removed:
        path.unlink()
    mnemodex.build(recipe)
    assert {path: path.read_bytes() for path in removed} == before
    assert verify(old).problems == []


@pytest.mark.parametrize("lost", [True, False])
def test_a_snapshot_that_current_does_not_confirm_is_refused_with_a_remedy_that_works(old, lost):
    current, newest = old / "CURRENT", old / "snapshots" / "000002.json"
    confirmed = current.read_text()
    if lost:
        current.unlink()
    else:
        newest.write_bytes(newest.read_bytes().replace(b"note", b"pote"))
    with pytest.raises(CorruptFileError, match=f"{newest}: is a snapshot of format 2 whose checksum") as raised:
        Store(old).upgrade()
    (line,) = re.findall("`(.*)`", str(raised.value))
    assert (f"{line}\n" == confirmed) == lost
    if lost:
        current.write_text(f"{line}\n")
        Store(old).upgrade()
        assert verify(old).problems == []


def test_a_snapshot_that_a_killed_build_of_format_2_left_is_to_be_removed(old):
    first, newest = old / "snapshots" / "000001.json", old / "snapshots" / "000002.json"
    (old / "CURRENT").write_text(f"000001 {hashlib.sha256(first.read_bytes()).hexdigest()}\n")
    with pytest.raises(CorruptFileError, match=f"{newest}: was left by a build of a former version .*; remove it$"):
        Store(old).upgrade()
    newest.unlink()
    upgraded = Store(old).upgrade()
    assert (upgraded.name, upgraded.parent) == ("000002", "000001")
