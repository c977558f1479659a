"""Documents are added, updated and deleted: every index answers as if it had been built from what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from changes import small_partitions
from hypothesis import Phase, settings
from kept_changes import KeptChanges, KeptMaskedChanges, KeptMaskedGeneratedChanges, KeptMaskedPairChanges
from library import records, write_jsonl
from pair_changes import words_generator, write_pairs
from passed_objects import Hashed
from rebuilds import note

import mnemodex
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import DuplicateKeyError, QueryError, SnapshotNotFoundError, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from commands import Ran

    from mnemodex.pipelines.outcome import BuildResult

__all__ = ["small_partitions", "words_generator"]

NEW = {"id": "kiln", "title": "Kiln", "text": "The kiln burns lime and oyster shells.", "lang": "en", "year": 1950}


@pytest.fixture
def changed(tmp_path: Path, build: Callable[..., BuildResult]) -> Any:
    """A memory of BM25 over the library in one file."""
    write_jsonl(tmp_path / "notes" / "notes.jsonl", records())
    build()
    return mnemodex.open(tmp_path / "memory")


def keys(memory: Any, question: str) -> list[str]:
    return [hit.key for hit in memory.retriever("words").search([question], 3)[0]]


FEW = settings(
    derandomize=True,
    max_examples=2,
    stateful_step_count=5,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


@pytest.mark.usefixtures("small_partitions")
class TestChanges(KeptChanges.TestCase):
    settings = FEW


@pytest.mark.usefixtures("small_partitions")
class TestMaskedChanges(KeptMaskedChanges.TestCase):
    settings = FEW


@pytest.mark.usefixtures("small_partitions")
class TestMaskedPairChanges(KeptMaskedPairChanges.TestCase):
    settings = FEW


@pytest.mark.usefixtures("small_partitions", "words_generator")
class TestMaskedGeneratedChanges(KeptMaskedGeneratedChanges.TestCase):
    settings = FEW


def test_what_was_added_is_found_and_what_was_deleted_is_not(changed: Any) -> None:
    assert changed.add([NEW]) == 1
    assert keys(changed, "lime kiln") == ["kiln"]
    assert changed.update([{**NEW, "text": "It burns charcoal."}]) == 1
    assert keys(changed, "oyster lime") == []
    assert keys(changed, "charcoal") == ["kiln"]
    assert changed.delete(["kiln"]) == 1
    assert keys(changed, "charcoal kiln") == []


def test_a_change_does_not_need_the_source(changed: Any, tmp_path: Path) -> None:
    (tmp_path / "notes" / "notes.jsonl").unlink()
    assert changed.delete(where="year = 1901") == 12
    assert changed.sql("SELECT count(*) FROM documents").fetchone() == (len(records()) - 12,)


def test_a_change_that_has_to_read_the_source_says_so(
    changed: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for marker in (tmp_path / "memory" / "tables" / "documents").glob("*.json"):
        marker.unlink()
    assert changed.add([NEW]) == 1
    assert "the source was read again" in caplog.text
    assert keys(changed, "lime kiln") == ["kiln"]


def test_a_deletion_stays_until_it_is_forgotten(
    changed: Any, tmp_path: Path, build: Callable[..., BuildResult], cli: Callable[..., Ran]
) -> None:
    changed.delete(["mill-1"])
    build()
    assert not build().committed
    assert keys(mnemodex.open(tmp_path / "memory"), "mill wheel in the north") != ["mill-1"]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"source: {tmp_path}/notes\nmemory: {tmp_path}/memory\nindexes: {{words: {{type: bm25}}}}\n")
    assert cli("build", recipe, "--forget-deletions").code == 0
    assert "mill-1" in keys(mnemodex.open(tmp_path / "memory"), "mill wheel in the north")


def test_a_deletion_writes_no_file_but_of_ids(changed: Any, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("memory/[it]*/**/*") if path.is_file()}
    changed.delete(["mill-1"])
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("memory/[it]*/**/*") if path.is_file()}
    assert before.items() <= after.items()
    assert {path.relative_to(tmp_path).parts[2] for path in after.keys() - before} == {"changes", "tombstones"}
    tables = changed.snapshot.manifest.tables
    assert (tables["documents"].rows, tables["documents"].masked) == (55, 1)
    assert changed.snapshot.manifest.indexes["words"].rows == tables["chunks"].rows


def test_where_many_documents_are_deleted_files_are_written(changed: Any) -> None:
    changed.delete(where="year < 1904")
    assert not changed.snapshot.manifest.tombstones
    assert changed.snapshot.manifest.tables["documents"].partitions.rows == 20


def test_earlier_snapshots_show_what_was_there(changed: Any, tmp_path: Path, cli: Callable[..., Ran]) -> None:
    changed.delete(["mill-1"])
    former = mnemodex.open(tmp_path / "memory", snapshot=1)
    assert "mill-1" in keys(former, "mill wheel in the north")
    with pytest.raises(QueryError, match="snapshot 000001 is opened, and 000002 is the current one"):
        former.delete(["mill-2"])
    with pytest.raises(SnapshotNotFoundError, match="has no snapshot '7'; there are: 000001, 000002"):
        mnemodex.open(tmp_path / "memory", snapshot=7)
    found = cli("search", tmp_path / "memory", "words", "mill wheel in the north", "--snapshot", 1)
    assert "mill-1" in found.out


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda memory: memory.delete(["mil-1"]), QueryError, "no document has the key 'mil-1'; did you mean 'mill-1'"),
        (lambda memory: memory.delete(), QueryError, "the keys of documents, or a `where`"),
        (lambda memory: memory.delete("mill-1"), QueryError, "a list of keys"),
        (lambda memory: memory.delete(where="true"), QueryError, "would delete all 56 documents"),
        (lambda memory: memory.delete(where="yaer = 1"), QueryError, "not a boolean expression over documents d"),
        (lambda memory: memory.update([NEW]), QueryError, "no document has the key 'kiln'"),
        (lambda memory: memory.add([{**records()[0], "text": "x"}]), DuplicateKeyError, "other content; update it"),
        (lambda memory: memory.add([NEW, {**NEW, "text": "x"}]), DuplicateKeyError, "two documents have the key"),
        (lambda memory: memory.add([]), SourceError, "gives no rows"),
        (lambda memory: memory.add([{"id": "a"}]), SourceError, "no field 'text'"),
        (lambda memory: memory.add("nowhere.jsonl"), SourceError, "nowhere.jsonl"),
    ],
)
def test_what_cannot_be_changed_changes_nothing(changed: Any, change: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        change(changed)
    assert changed.newer() is None


def test_what_is_there_already_commits_nothing(changed: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert changed.add([records()[0]]) == 0
    assert changed.update([records()[0]]) == 0
    assert "1 document unchanged" in caplog.text
    assert changed.newer() is None


def test_commands_change_a_memory(changed: Any, tmp_path: Path, cli: Callable[..., Ran]) -> None:
    memory, source = tmp_path / "memory", write_jsonl(tmp_path / "new.jsonl", [NEW])
    assert "1 document added; snapshot 000002 committed" in cli("add", memory, source).out
    assert "0 documents added; nothing to change" in cli("add", memory, source).out
    write_jsonl(source, [{**NEW, "text": "It burns charcoal."}])
    report = cli("update", memory, source, "--json").json
    assert (report["documents"], report["snapshot"], report["committed"]) == (1, "000003", True)
    assert "13 documents deleted" in cli("delete", memory, "--where", "year IN (1901, 1950)").out
    assert cli("delete", memory, "kiln").code == 2


@pytest.mark.usefixtures("words_generator", "small_partitions")
@pytest.mark.parametrize("pairs", ["file", "words"])
def test_a_deletion_writes_of_pairs_what_differs_and_an_addition_adds_to_it(tmp_path: Path, pairs: str) -> None:
    write_jsonl(tmp_path / "notes" / "notes.jsonl", [note(number, 0) for number in range(60)])
    write_pairs(tmp_path / "pairs.jsonl")
    recipe = {
        "source": str(tmp_path / "notes"),
        "memory": str(tmp_path / "memory"),
        "embed": {"words": {}},
        "indexes": {"asked": {"type": "qa"}},
        "qa_pairs": {"from": str(tmp_path / "pairs.jsonl")} if pairs == "file" else {"generator": "words"},
    }
    encoders = {"words": Hashed(16)}
    mnemodex.build(recipe, encoders=encoders)
    before = set(tmp_path.glob("memory/[it]*/**/*"))
    memory = mnemodex.open(tmp_path / "memory", encoders=encoders)
    memory.delete(["n2", "n20", "n35"])
    new = {path.relative_to(tmp_path / "memory").parts[1] for path in set(tmp_path.glob("memory/[it]*/**/*")) - before}
    assert new == {"changes", "corrections", "tombstones"}
    tables = memory.snapshot.manifest.tables
    assert (tables["qa_pairs"].masked > 0) == (pairs == "words")
    for table, view in (("qa_pairs", "qa_pairs"), ("questions", "questions"), ("embeddings/words/questions",) * 2):
        counted = memory.sql(f'SELECT count(*) FROM "{view.replace("/", "_")}"').fetchone()
        assert counted == (tables[table].rows,)
    memory.update([note(3, 1)])
    assert memory.snapshot.manifest.tombstones
    gone = "SELECT count(*) FROM qa_pairs WHERE doc_id IS NOT NULL AND doc_id NOT IN (SELECT doc_id FROM documents)"
    assert memory.sql(gone).fetchone() == (0,)
    assert verify(tmp_path / "memory").problems == []
