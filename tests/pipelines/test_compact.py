"""A memory after many changes is written as a new one is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from engines import InlineEngine
from library import records, write_jsonl
from passed_objects import Hashed

import mnemodex
from mnemodex.pipelines import growth
from mnemodex.pipelines.documents.changes import ChangeLog
from mnemodex.pipelines.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from commands import Ran

    from mnemodex.pipelines.outcome import BuildResult


INDEXES = {"words": {"type": "bm25"}, "flat": {"type": "dense", "factory": "Flat"}}


@pytest.fixture
def build_again(tmp_path: Path) -> Callable[[], BuildResult]:
    """Build BM25 and dense vectors over the library."""
    recipe = {"source": {"path": str(tmp_path / "notes.jsonl")}, "memory": str(tmp_path / "memory"), "indexes": INDEXES}
    return lambda: mnemodex.build(recipe, encoders={"words": Hashed(16, seed=0)})


@pytest.fixture
def changed(tmp_path: Path, build_again: Callable[[], BuildResult], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A memory with several shards and layers."""
    monkeypatch.setattr(growth, "SMALL", 2)
    monkeypatch.setattr("mnemodex.pipelines.run.choose_engine", InlineEngine)
    write_jsonl(tmp_path / "notes.jsonl", records())
    build_again()
    opened = mnemodex.open(tmp_path / "memory", encoders={"words": Hashed(16, seed=0)})
    for number in range(6):
        opened.add([new(number, 0)])
    opened.update([new(3, 1)])
    opened.delete(["kiln-5", "mill-1"])
    return opened


def new(number: int, edits: int) -> dict[str, Any]:
    return {"id": f"kiln-{number}", "title": "Kiln", "text": f"The kiln {number} burns lime {edits}.", "year": 1}


def found(memory: Any) -> Any:
    asked = ["kiln lime 3", "mill"]
    return [memory.retriever(name).search(asked, 7).to_arrow().to_pylist() for name in memory.indexes]


def test_answers_stay_and_shards_become_few(changed: Any, tmp_path: Path) -> None:
    before = found(changed)
    assert len(changed.snapshot.index("words").shards) > 2
    assert len(changed.snapshot.index("flat").shards) > 1
    assert changed.compact()
    assert found(changed) == before
    # BM25 has a shard a partition: one of the source, one of the change log.
    assert len(changed.snapshot.index("words").shards) == 2
    assert len(changed.snapshot.index("flat").shards) == 1
    assert not changed.snapshot.manifest.tombstones
    assert verify(tmp_path / "memory").problems == []


def test_the_change_log_is_one_layer_of_what_counts(changed: Any, tmp_path: Path) -> None:
    changed.compact()
    log = ChangeLog.of(changed.snapshot.manifest)
    assert len(log.partitions) == 1
    keys = log.keys(changed.snapshot.store).to_pylist()
    assert sorted(keys) == ["kiln-0", "kiln-1", "kiln-2", "kiln-3", "kiln-4", "kiln-5", "mill-1"]


def test_nothing_to_do_commits_nothing(changed: Any, build_again: Callable[[], BuildResult]) -> None:
    assert changed.compact()
    name = changed.snapshot.name
    assert not changed.compact()
    assert not build_again().committed
    assert changed.snapshot.name == name


def test_the_command_compacts(tmp_path: Path, build: Callable[..., BuildResult], cli: Callable[..., Ran]) -> None:
    write_jsonl(tmp_path / "notes" / "notes.jsonl", records())
    build()
    mnemodex.open(tmp_path / "memory").delete(["mill-1"])
    assert "snapshot 000003 committed" in cli("compact", tmp_path / "memory").out
    assert "nothing to do" in cli("compact", tmp_path / "memory").out
    assert cli("compact", tmp_path / "memory", "--json").json["committed"] is False


def test_a_deletion_stays_after_it(changed: Any, build_again: Callable[[], BuildResult], tmp_path: Path) -> None:
    changed.compact()
    build_again()
    count = "SELECT count(*) FROM documents WHERE key = 'mill-1'"
    assert mnemodex.open(tmp_path / "memory").sql(count).fetchone() == (0,)
    assert changed.add([new(9, 0)]) == 1
    assert {"kiln-9", "kiln-3"} <= {hit.key for hit in changed.retriever("words").search(["kiln"], 20)[0]}
