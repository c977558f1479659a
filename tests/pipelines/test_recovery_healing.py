"""The remedy of every message about a damaged file: remove it, and build again."""

from __future__ import annotations

import dataclasses
import re
import shutil

import pytest
from damage import DAMAGES, Folder
from small_memory import answers, build_again, build_inline, write_corpus

from mnemodex.pipelines.verify import verify
from mnemodex.retrievers.memory import Memory
from mnemodex.schemas.errors import MnemodexError
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.store import open_store

WORDS = {"words": {"type": "bm25"}}


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A memory without vectors, so that building it again is quick: its source, its folder, and what it answers."""
    folder = tmp_path_factory.mktemp("healing")
    source, memory = folder / "source", folder / "memory"
    write_corpus(source, "a.jsonl", range(4), bad_row=True)
    write_corpus(source, "b.jsonl", range(4, 8))
    build_inline(source, memory, WORDS)
    return source, memory, without_history(answers(memory))


@pytest.fixture
def copy(words, tmp_path):
    source, memory, told = words
    return source, Folder(shutil.copytree(memory, tmp_path / "memory")), told


def without_history(told):
    """Answers but for those that tell of snapshots and files, which a healed memory has other ones of."""
    return {name: answer for name, answer in told.items() if name not in {"sql snapshots", "sql files", "sql shards"}}


def one_of_each_kind(files):
    """Of the files of several partitions those of the first."""
    return list({re.sub(r"[ab]\.jsonl-00000-[0-9a-f]+", "PARTITION", file): file for file in reversed(files)}.values())


def test_a_removed_file_is_made_again(copy):
    source, memory, told = copy
    for file in one_of_each_kind(memory.files()):
        if file.startswith("snapshots/"):
            continue
        (memory.root / file).unlink()
        build_inline(source, memory.root, WORDS)
        assert (memory.root / file).exists(), file
        assert verify(memory.root).problems == [], file
    assert without_history(answers(memory.root)) == told


@pytest.mark.parametrize("damage", ["some byte", "missing", "empty"])
def test_a_damaged_list_file_is_made_again(copy, damage):
    source, memory, told = copy
    lists = [file for file in memory.files() if file.startswith("snapshots/lists/")]
    contents = {file: (memory.root / file).read_bytes() for file in lists}
    with memory.damaged(*lists, damage=damage) as damaged:
        assert {answer for answer in damaged if any(answer in problem for problem in verify(memory.root).problems)} == {
            *damaged
        }
        assert sum(step.computed for step in build_inline(source, memory.root, WORDS).steps) == 0
        assert {file: (memory.root / file).read_bytes() for file in lists} == contents
        assert verify(memory.root).problems == []
        assert without_history(answers(memory.root)) == told


@pytest.mark.parametrize("damage", ["some byte", "missing"])
def test_former_snapshots_with_a_damaged_list_file_can_be_given_up(copy, tmp_path, damage):
    source, memory, _ = copy
    former = {file for file in memory.files() if file.startswith("snapshots/lists/")}
    grown = shutil.copytree(source, tmp_path / "grown")
    write_corpus(grown, "c.jsonl", range(8, 10))
    assert build_inline(grown, memory.root, WORDS).committed
    told = without_history(answers(memory.root))
    current = {part.path for kept in open_store(memory.root)[1].lists() for part in kept.lists}
    file = sorted(former - current)[0]
    with memory.damaged(file, damage=damage):
        (problem,) = verify(memory.root).problems
        assert problem == (
            f"{memory.root / file}: is damaged or missing, and only the former snapshot 000001 names it; restore it "
            "from a copy, or give the former snapshots up: remove CURRENT and the folder snapshots, and build again, "
            "which finds what is computed"
        )
        (memory.root / "CURRENT").unlink()
        shutil.rmtree(memory.root / "snapshots")
        result = build_inline(grown, memory.root, WORDS)
        assert result.committed and sum(step.computed for step in result.steps) == 0
        assert verify(memory.root).problems == []
        assert without_history(answers(memory.root)) == told
        (memory.root / file).parent.mkdir(exist_ok=True)


def test_many_removed_files_are_made_again(small_memory, tmp_path):
    memory = shutil.copytree(small_memory / "memory", tmp_path / "memory")
    told = without_history(answers(memory))
    current = open_store(memory)[1]
    for path in {artifact.files[-1].path for artifact in current.artifacts()}:
        (memory / path).unlink()
    build_again(small_memory, memory)
    assert without_history(answers(memory)) == told
    assert verify(memory).problems == []


def test_a_build_on_a_damaged_file_stops_there_or_makes_nothing_of_it(words, tmp_path):
    source, memory, _ = words
    grown = shutil.copytree(source, tmp_path / "source")
    write_corpus(grown, "c.jsonl", range(8, 10))
    build_inline(grown, shutil.copytree(memory, tmp_path / "sound"), WORDS)
    told = without_history(answers(tmp_path / "sound"))
    stopped = []
    # What is known of the source is found out again, and what is not of it any more is removed.
    for file in [file for file in one_of_each_kind(Folder(memory).files()) if not file.startswith("work/")]:
        copy = Folder(shutil.copytree(memory, tmp_path / "memory"))
        with copy.damaged(file, damage="some byte") as (path,):
            try:
                build_inline(grown, copy.root, WORDS)
            except MnemodexError as error:
                assert path in str(error)
                stopped.append(file)
            else:
                after = without_history(answers(copy.root))
                wrong = [name for name, answer in after.items() if answer != told[name] and path not in str(answer)]
                assert wrong == []
        shutil.rmtree(copy.root)
    assert {file.split("/")[0] for file in stopped} >= {"snapshots", "tables"}


def test_what_is_made_again_with_other_bytes_becomes_a_new_snapshot(copy, monkeypatch):
    source, memory, told = copy
    chunks = next(file for file in memory.files() if file.startswith("tables/chunks/") and file.endswith(".parquet"))
    before = (memory.root / chunks).read_bytes()
    (memory.root / chunks).unlink()
    write = parquet.write

    def write_otherwise(path, table, batches):
        return write(path, dataclasses.replace(table, row_group_rows=1), batches)

    with monkeypatch.context() as patch:
        patch.setattr(parquet, "write", write_otherwise)
        assert build_inline(source, memory.root, WORDS).committed
    again = open_store(memory.root)[1].tables["chunks"].partitions[0].files[0]
    assert (memory.root / again.path).read_bytes() != before and not (memory.root / chunks).exists()
    assert verify(memory.root).problems == []
    assert without_history(answers(memory.root)) == told
    assert not build_inline(source, memory.root, WORDS).committed


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name != "missing"])
def test_a_damaged_plan_is_made_again(copy, damage):
    source, memory, _ = copy
    plan = [file for file in memory.files() if file.startswith("work/plan/")]
    assert len(plan) == 5
    for file in plan:
        if (memory.root / file).exists():
            with memory.damaged(file, damage=damage):
                assert not build_inline(source, memory.root, WORDS).committed
                # What a finished plan was made of is not read again.
                if file.endswith(("pieces.arrow", "splits.parquet")):
                    assert verify(memory.root).problems == []


def test_lost_rows_of_errors_are_found_again_in_the_source(copy):
    source, memory, told = copy
    shutil.rmtree(memory.root / "tables" / "errors")
    build_inline(source, memory.root, WORDS)
    assert without_history(answers(memory.root))["sql errors"] == told["sql errors"]
    assert len(told["sql errors"]) == 1


def test_a_memory_that_is_open_keeps_its_answers_while_others_build(copy):
    source, memory, _ = copy
    opened, late = Memory(memory.root), Memory(memory.root)
    asked = "SELECT name FROM snapshots"
    assert opened.sql(asked).fetchall() == [("000001",)]
    build_inline(source, memory.root, {"words": {"type": "bm25", "k1": 0.5}})
    assert Memory(memory.root).sql(asked).fetchall() == [("000002",), ("000001",)]
    # Also where the first question comes after the other's commit.
    assert late.sql(asked).fetchall() == [("000001",)]
    found = late.retriever("words").search(["river"], 3).to_arrow().to_pylist()
    assert found == opened.retriever("words").search(["river"], 3).to_arrow().to_pylist()
