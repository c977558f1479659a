"""What is different between two snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from library import records, write_jsonl

import mnemodex

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from commands import Ran

    from mnemodex.pipelines.outcome import BuildResult

KILN = {"id": "kiln", "title": "Kiln", "text": "The kiln burns lime.", "lang": "en", "year": 1950}


@pytest.fixture
def memory(tmp_path: Path, build: Callable[..., BuildResult]) -> Path:
    """A memory of BM25 with an addition, a deletion by a tombstone, and an update."""
    write_jsonl(tmp_path / "notes" / "notes.jsonl", records())
    build()
    opened = mnemodex.open(tmp_path / "memory")
    opened.add([KILN, {**KILN, "id": "oven"}])
    opened.delete(["mill-1", "mill-2"])
    opened.update([{**KILN, "text": "It burns charcoal."}])
    return tmp_path / "memory"


def documents(report: dict[str, Any]) -> dict[str, list[str]]:
    return {name: found["keys"] for name, found in report["documents"].items()}


def test_documents_are_told_from_each_other(memory: Path, cli: Callable[..., Ran]) -> None:
    report = cli("diff", memory, 1, 4, "--json").json
    assert (report["from"], report["to"]) == ("000001", "000004")
    assert documents(report) == {"added": ["kiln", "oven"], "removed": ["mill-1", "mill-2"], "changed": []}
    assert report["tables"]["documents"] == report["indexes"]["words"] == {"before": 56, "after": 56}
    assert documents(cli("diff", memory, 2, 3, "--json").json)["removed"] == ["mill-1", "mill-2"]
    assert documents(cli("diff", memory, 3, 4, "--json").json) == {"added": [], "removed": [], "changed": ["kiln"]}
    assert documents(cli("diff", memory, 4, 3, "--json").json) == {"added": [], "removed": [], "changed": ["kiln"]}


def test_a_snapshot_is_as_itself(memory: Path, cli: Callable[..., Ran]) -> None:
    report = cli("diff", memory, 3, 3, "--json").json
    assert documents(report) == {"added": [], "removed": [], "changed": []}
    assert report["tables"] == report["indexes"] == report["recipe"] == {}


def test_settings_of_the_recipe_are_told(
    memory: Path, build: Callable[..., BuildResult], cli: Callable[..., Ran]
) -> None:
    build(indexes={"words": {"type": "bm25", "k1": 0.9}, "more": {"type": "bm25"}})
    report = cli("diff", memory, 4, 5, "--json").json
    assert report["recipe"]["indexes.words.k1"] == {"before": 1.2, "after": 0.9}
    assert report["indexes"]["more"] == {"before": None, "after": 56}
    assert "indexes.words.k1" in cli("diff", memory, 4, 5).out


def test_at_most_so_many_keys_are_shown_and_all_are_counted(memory: Path, cli: Callable[..., Ran]) -> None:
    report = cli("diff", memory, 1, 4, "-n", 1, "--json").json
    assert report["documents"]["added"] == {"count": 2, "keys": ["kiln"]}
    assert "2 documents removed: mill-1, …" in cli("diff", memory, 1, 4, "-n", 1).out
    assert cli("diff", memory, 1, 9).code == 2


def test_history_says_what_each_snapshot_changed(memory: Path, cli: Callable[..., Ran]) -> None:
    rows = cli("show", memory, "--history", "--json").json["history"]
    assert [[row[name] for name in ("snapshot", "added", "removed", "changed")] for row in rows] == [
        ["000004", 0, 0, 1],
        ["000003", 0, 2, 0],
        ["000002", 2, 0, 0],
        ["000001", 56, 0, 0],
    ]
    assert all(row["bytes"] > 0 for row in rows)
    assert rows[2]["bytes"] < rows[3]["bytes"]
    cli("gc", memory, "--keep", 1)
    assert len(cli("show", memory, "--history", "--json").json["history"]) == 1
    assert "000004" in cli("show", memory, "--history").out
