"""A build: what it makes, what it leaves alone, and what a change of the recipe costs."""

from __future__ import annotations

import json
import shutil

import pytest
from builds import computed, manifest
from library import records, words_recipe, write_jsonl, write_parts

import mnemodex
from mnemodex.pipelines import run as run_module
from mnemodex.schemas.errors import (
    IdCollisionError,
    MemoryNotFoundError,
    RecipeError,
    WriterBusyError,
)
from mnemodex.schemas.store.store import Store

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def source(tmp_path):
    """Twelve notes in three files, each of which becomes a partition."""
    return write_parts(tmp_path / "notes", records()[:12], 3)


def files(memory):
    return {path: path.stat().st_mtime_ns for path in memory.rglob("*") if path.is_file() and "work" not in path.parts}


def test_a_build_makes_the_tables_and_indexes_of_the_recipe(source, tmp_path):
    result = mnemodex.build(words_recipe(source, tmp_path / "memory"))
    assert (result.memory, result.snapshot, result.committed) == (tmp_path / "memory", "000001", True)
    assert computed(result) == {"documents": 3, "chunks": 3, "words": 3}
    made = manifest(tmp_path / "memory")
    assert {name: table.rows for name, table in made.tables.items()} == {"documents": 12, "chunks": 12}
    assert made.indexes["words"].rows == 12 and made.parent is None
    assert {step.name: step.rows for step in result.steps if not step.cache} == {
        "documents": 12, "chunks": 12, "words": 12,
    }  # fmt: skip
    assert [step.name for step in result.steps if step.cache] == [
        "source: files", "source: partitions",
        "documents: repeats", "documents: without repeats", "documents: ids", "chunks: ids",
    ]  # fmt: skip


def test_documents_are_the_records_of_the_source(tmp_path):
    source = write_jsonl(tmp_path / "notes.jsonl", records())
    mnemodex.build(words_recipe(source, tmp_path / "memory"))
    found = mnemodex.open(tmp_path / "memory").sql("SELECT * FROM documents ORDER BY line").to_arrow_table().to_pylist()
    assert [(row["key"], row["title"], row["text"]) for row in found] == [
        (row["id"], row["title"], row["text"]) for row in records()
    ]
    assert [json.loads(row["metadata"]) for row in found] == [
        {"lang": row["lang"], "year": row["year"]} for row in records()
    ]
    assert {(row["source"], row["line"]) for row in found} == {("notes.jsonl", n + 1) for n in range(len(records()))}
    assert len({row["doc_id"] for row in found}) == len(found)


def test_a_second_build_computes_nothing_and_does_not_start_the_engine(source, tmp_path, monkeypatch):
    recipe = words_recipe(source, tmp_path / "memory")
    mnemodex.build(recipe)
    before = files(tmp_path / "memory")

    monkeypatch.setattr("mnemodex.pipelines.run.choose_engine", lambda *_, **__: pytest.fail("started"))
    result = mnemodex.build(recipe)
    assert (result.committed, result.snapshot, computed(result)) == (False, "000001", {})
    assert (result.engine, result.start_seconds) == (None, 0)
    assert files(tmp_path / "memory") == before
    assert sum(step.rows for step in result.steps if step.name == "chunks") == 12


def test_the_engine_is_not_started_either_where_only_the_recipe_has_changed(source, tmp_path, monkeypatch):
    mnemodex.build(words_recipe(source, tmp_path / "memory"))
    monkeypatch.setattr("mnemodex.pipelines.run.choose_engine", lambda *_, **__: pytest.fail("started"))
    again = words_recipe(source, tmp_path / "memory")
    again["source"]["max_errors"] = 7
    result = mnemodex.build(again)
    assert computed(result) == {} and result.snapshot == manifest(tmp_path / "memory").name


def test_the_same_content_in_another_place_has_the_same_fingerprints(source, tmp_path):
    mnemodex.build(words_recipe(source, tmp_path / "a"))
    mnemodex.build(words_recipe(source, tmp_path / "b"))
    assert manifest(tmp_path / "a").same_content(manifest(tmp_path / "b"))
    shutil.copytree(source, tmp_path / "copy")
    mnemodex.build(words_recipe(tmp_path / "copy", tmp_path / "c"))
    made = [manifest(tmp_path / name) for name in "ac"]
    assert _fingerprints(made[0]) == _fingerprints(made[1])


def _fingerprints(made):
    parts = [part for table in made.tables.values() for part in table.partitions]
    return [(part.label, part.fingerprint, part.rows) for part in (*parts, *made.indexes["words"].shards)]


def test_changing_the_chunks_leaves_the_documents_as_they_were(source, tmp_path):
    mnemodex.build(words_recipe(source, tmp_path / "memory"))
    result = mnemodex.build(words_recipe(source, tmp_path / "memory", chunks={"by": "tokens", "size": 10}))
    assert computed(result) == {"chunks": 3, "words": 3}
    current = manifest(tmp_path / "memory")
    first = json.loads((tmp_path / "memory" / "snapshots" / "000001.json").read_text())
    assert first["tables"]["documents"] == current.tables["documents"].model_dump(mode="json")
    assert current.parent == "000001" and current.tables["chunks"].rows > 12


def test_going_back_to_an_old_recipe_finds_its_files(source, tmp_path):
    recipe = words_recipe(source, tmp_path / "memory")
    mnemodex.build(recipe)
    mnemodex.build({**recipe, "chunks": {"by": "tokens", "size": 10}})
    result = mnemodex.build(recipe)
    assert computed(result) == {} and (result.committed, result.snapshot) == (True, "000003")
    first = json.loads((tmp_path / "memory" / "snapshots" / "000001.json").read_text())
    assert first["tables"] == manifest(tmp_path / "memory").model_dump(mode="json")["tables"]


def test_an_index_more_computes_that_index_alone(source, tmp_path):
    mnemodex.build(words_recipe(source, tmp_path / "memory"))
    indexes = {"words": {"type": "bm25"}, "plain": {"type": "bm25", "with_title": False}}
    result = mnemodex.build(words_recipe(source, tmp_path / "memory", indexes=indexes))
    assert computed(result) == {"plain": 3}
    # Only a search reads k1: the files are those of the other index.
    indexes["weighted"] = {"type": "bm25", "k1": 0.9}
    result = mnemodex.build(words_recipe(source, tmp_path / "memory", indexes=indexes))
    assert computed(result) == {}


def test_an_index_less_is_gone_from_the_snapshot_and_its_files_stay(source, tmp_path):
    indexes = {"words": {"type": "bm25"}, "plain": {"type": "bm25", "with_title": False}}
    mnemodex.build(words_recipe(source, tmp_path / "memory", indexes=indexes))
    result = mnemodex.build(words_recipe(source, tmp_path / "memory"))
    assert computed(result) == {} and result.committed
    assert list(manifest(tmp_path / "memory").indexes) == ["words"]
    assert any((tmp_path / "memory" / "indexes" / "plain").iterdir())


def test_snapshots_share_their_files(source, tmp_path):
    mnemodex.build(words_recipe(source, tmp_path / "memory"))
    before = files(tmp_path / "memory")
    write_jsonl(source / "part-9.jsonl", records()[12:16])
    mnemodex.build(words_recipe(source, tmp_path / "memory"))
    after = files(tmp_path / "memory")
    assert {path: after.get(path) for path in before if path.name != "CURRENT"} == {
        path: time for path, time in before.items() if path.name != "CURRENT"
    }
    second, first = (set(_paths(made)) for made in Store(tmp_path / "memory").history(manifest(tmp_path / "memory")))
    assert first < second and all("part-9" in path for path in second - first)


def _paths(made):
    parts = [table.partitions for table in made.tables.values()] + [index.shards for index in made.indexes.values()]
    return [file.path for artifacts in parts for artifact in artifacts for file in artifact.files]


def test_work_is_empty_but_for_the_plan_after_a_build(source, tmp_path):
    mnemodex.build(words_recipe(source, tmp_path / "memory"))
    assert all(path.name == "plan" for path in (tmp_path / "memory" / "work").iterdir())


def test_a_salt_changes_every_id(source, tmp_path):
    ids = []
    for name, salt in (("a", ""), ("b", "pepper")):
        mnemodex.build(words_recipe(source, tmp_path / name, id_salt=salt))
        rows = mnemodex.open(tmp_path / name).sql("SELECT doc_id, chunk_id FROM chunks").fetchall()
        ids.append({number for row in rows for number in row})
    assert len(ids[0]) == len(ids[1]) == 24 and not ids[0] & ids[1]
    assert all(0 <= number < 2**63 for number in ids[0] | ids[1])


def test_ids_that_collide_are_refused_with_the_remedy(source, tmp_path, monkeypatch):
    from mnemodex.pipelines.documents import read

    monkeypatch.setattr(read, "hash_text", lambda *parts, salt="": 5)
    with pytest.raises(IdCollisionError, match="the doc_id 5: a hash collision; set `id_salt`"):
        mnemodex.build(words_recipe(source, tmp_path / "memory"))
    assert Store(tmp_path / "memory").current() is None


@pytest.mark.parametrize("new_ids", [(None, 6), (6, 6), (7, 6)])
def test_ids_of_added_documents_that_collide_are_refused(source, tmp_path, monkeypatch, new_ids):
    from mnemodex.pipelines.documents import read

    mnemodex.build(words_recipe(source, tmp_path / "memory"))
    memory = mnemodex.open(tmp_path / "memory")
    (taken,) = memory.sql("SELECT doc_id FROM documents LIMIT 1").fetchone()
    ids = dict(zip(("one", "two"), (taken if new is None else new for new in new_ids), strict=True))
    hashed = read.hash_text
    monkeypatch.setattr(read, "hash_text", lambda key, *rest, salt="": ids.get(key) or hashed(key, *rest, salt=salt))
    monkeypatch.setattr("mnemodex.pipelines.ops.unique.scatter", lambda *_: pytest.fail("all ids are sorted"))
    rows = [{"id": key, "text": f"the text {key}"} for key in ids]
    if len({taken, *ids.values()}) == 3:
        assert memory.add(rows) == 2
        return
    repeated = taken if taken in ids.values() else 6
    with pytest.raises(IdCollisionError, match=f"two rows have the doc_id {repeated}: a hash collision"):
        memory.add(rows)


def test_two_builds_at_once_do_not_mix(source, tmp_path):
    recipe = words_recipe(source, tmp_path / "memory")
    mnemodex.build(recipe)
    with Store(tmp_path / "memory").lock(), pytest.raises(WriterBusyError, match="another build is writing"):
        mnemodex.build(recipe)
    assert not mnemodex.build(recipe).committed


def test_a_folder_that_holds_something_else_is_left_alone(source, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(MemoryNotFoundError, match=r"is not a memory \(it holds 'thesis.txt'\)"):
        mnemodex.build(words_recipe(source, tmp_path / "mine"))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_the_manifest_names_the_versions_and_the_recipe(source, tmp_path):
    mnemodex.build(words_recipe(source, tmp_path / "memory"))
    made = manifest(tmp_path / "memory")
    assert {"python", "mnemodex", "numpy", "pyarrow", "duckdb", "PyStemmer"} <= set(made.versions)
    assert made.recipe["indexes"] == {
        "words": {"type": "bm25", "k1": 1.2, "b": 0.75, "with_title": True, "language": "english", "tokenizer": "words"}
    }
    assert made.recipe["source"]["path"] == str(source)


def test_a_recipe_file_is_built_beside_itself(source, tmp_path):
    path = tmp_path / "notes.yaml"
    path.write_text("source: notes\nindexes:\n  words: {type: bm25}\n")
    result = mnemodex.build(path)
    assert result.memory == tmp_path / "memories" / "notes"
    assert mnemodex.build(str(path), memory=tmp_path / "other").memory == tmp_path / "other"


@pytest.mark.parametrize("recipe", [5, None, [], "nowhere.yaml"])
def test_what_is_no_recipe_is_refused(tmp_path, monkeypatch, recipe):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((RecipeError, TypeError)):
        mnemodex.build(recipe)


def test_the_fixture_really_replaces_the_engine(inline):
    assert run_module.choose_engine is inline
