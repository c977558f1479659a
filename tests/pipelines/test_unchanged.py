"""A memory of many partitions whose sources, recipe and files are what they were is not planned again."""

from __future__ import annotations

import os

import pytest
from builds import computed, manifest
from library import records, words_recipe, write_parts

import mnemodex
from mnemodex.pipelines import run as run_module
from mnemodex.pipelines import unchanged
from mnemodex.schemas.store.local_files import LocalFiles

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def plans(monkeypatch):
    """How many plans were made."""
    made = []
    declare = run_module.declarations

    def counted(*given):
        made.append(given)
        return declare(*given)

    monkeypatch.setattr(run_module, "declarations", counted)
    return made


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe whose memory counts as one of many partitions, built."""
    monkeypatch.setattr(unchanged, "MANY", 3)
    source = write_parts(tmp_path / "notes", records()[:12], 3)
    recipe = words_recipe(source, tmp_path / "memory")
    mnemodex.build(recipe)
    return recipe


def test_a_second_build_makes_no_plan_and_says_what_the_first_one_said(recipe, tmp_path, plans):
    result = mnemodex.build(recipe)
    assert not plans
    assert not result.committed and result.snapshot == "000001" and not computed(result)
    planned = mnemodex.build(recipe, dry_run=True)
    assert not plans and planned.planned
    os.utime(next((tmp_path / "notes").iterdir()))
    after_a_plan = mnemodex.build(recipe)
    assert len(plans) == 1
    table = [(step.name, step.partitions, step.rows, step.bytes, step.cache) for step in result.steps]
    assert table == [(step.name, step.partitions, step.rows, step.bytes, step.cache) for step in after_a_plan.steps]


def test_a_changed_source_is_read(recipe, tmp_path, plans):
    (tmp_path / "notes" / "more.jsonl").write_text('{"id": "new", "title": "New", "text": "A new note."}\n')
    result = mnemodex.build(recipe)
    assert plans and result.committed
    assert manifest(tmp_path / "memory").tables["documents"].rows == 13


def test_a_source_that_changes_during_the_build_is_read_by_the_next_one(recipe, tmp_path, plans, monkeypatch):
    def planned_and_grown(*given):
        (tmp_path / "notes" / "late.jsonl").write_text('{"id": "late", "title": "Late", "text": "A late note."}\n')
        return declare(*given)

    declare = run_module.declarations
    (tmp_path / "notes" / "more.jsonl").write_text('{"id": "new", "title": "New", "text": "A new note."}\n')
    with monkeypatch.context() as during:
        during.setattr(run_module, "declarations", planned_and_grown)
        mnemodex.build(recipe)
    mnemodex.build(recipe)
    assert manifest(tmp_path / "memory").tables["documents"].rows == 14


def test_a_changed_recipe_is_planned(recipe, plans):
    changed = {**recipe, "chunks": {"by": "tokens", "size": 16, "overlap": 0}}
    assert computed(mnemodex.build(changed))["chunks"]
    assert plans


def test_other_code_is_planned(recipe, plans, monkeypatch):
    monkeypatch.setattr(unchanged, "software", lambda: {"mnemodex": "another"})
    mnemodex.build(recipe)
    assert plans


def test_a_file_that_is_gone_is_computed_again(recipe, tmp_path, plans):
    part = next((tmp_path / "memory" / "tables" / "chunks").glob("*.parquet"))
    part.unlink()
    assert computed(mnemodex.build(recipe))["chunks"] == 1
    assert plans and part.exists()


def test_a_damaged_note_of_the_last_build_is_no_harm(recipe, tmp_path, plans):
    memo = tmp_path / "memory" / "work" / "built.json"
    memo.write_bytes(memo.read_bytes().replace(b'"state"', b'"stale"'))
    mnemodex.build(recipe)
    assert plans


def test_a_disk_that_is_full_after_the_commit_costs_the_note_only(recipe, tmp_path, plans, monkeypatch):
    (tmp_path / "notes" / "more.jsonl").write_text('{"id": "new", "title": "New", "text": "A new note."}\n')
    put = LocalFiles.put

    def refuse(files, path, data):
        if path == "work/built.json":
            raise OSError(28, "No space left on device")
        put(files, path, data)

    monkeypatch.setattr(LocalFiles, "put", refuse)
    assert mnemodex.build(recipe).committed
    assert not mnemodex.build(recipe).committed and len(plans) == 2


def test_a_memory_of_few_partitions_is_planned(recipe, plans, monkeypatch):
    monkeypatch.setattr(unchanged, "MANY", 1000)
    mnemodex.build(recipe)
    assert plans


def test_documents_of_a_caller_are_read_each_time(tmp_path, plans, monkeypatch):
    monkeypatch.setattr(unchanged, "MANY", 1)
    for number in (1, 2):
        recipe = {"memory": str(tmp_path / "memory"), "indexes": {"words": {"type": "bm25"}}}
        mnemodex.build(recipe, source=[{"key": "a", "text": f"Text {number}."}])
        assert manifest(tmp_path / "memory").name == f"{number:06d}"
    assert len(plans) == 2
