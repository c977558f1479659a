"""`--dry-run`: what a build would compute, told without computing or writing anything."""

from __future__ import annotations

import pytest
from builds import manifest
from library import records, words_recipe, write_jsonl, write_parts

import mnemodex
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.store.store import Store

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def recipe(tmp_path):
    return words_recipe(write_parts(tmp_path / "notes", records()[:12], 3), tmp_path / "memory")


def files(memory):
    """All files of the memory but for those of unfinished work, with their times and inodes."""
    found = (path for path in memory.rglob("*") if path.is_file() and "work" not in path.relative_to(memory).parts)
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in found}


def planned(result):
    """Units that would be computed, by step."""
    return {step.name: step.computed for step in result.steps if step.computed}


def test_the_plan_of_a_new_memory_is_what_the_build_computes(recipe, tmp_path, inline):
    plan = mnemodex.build(recipe, dry_run=True)
    assert (plan.planned, plan.committed, plan.snapshot, plan.engine) == (True, False, None, None)
    assert (inline.started, inline.computed) == (0, 0)
    assert sorted(path.name for path in (tmp_path / "memory").iterdir()) == ["work"]
    assert [path.name.partition("-")[0] for path in (tmp_path / "memory" / "work").iterdir()] == ["plan"]
    result = mnemodex.build(recipe)
    # How many groups of partitions an index has is known when there are partitions.
    assert planned(result) == {**planned(plan), "words": 3} and planned(plan)["words"] == 1
    assert [step.name for step in plan.steps] == [step.name for step in result.steps]


def test_a_memory_that_is_up_to_date_has_nothing_planned_and_stays_as_it_is(recipe, tmp_path, inline):
    mnemodex.build(recipe)
    before, inline.started = files(tmp_path / "memory"), 0
    plan = mnemodex.build(recipe, dry_run=True)
    assert (planned(plan), plan.snapshot, plan.committed, inline.started) == ({}, "000001", False, 0)
    assert {step.name: step.rows for step in plan.steps}["chunks"] == 12
    assert files(tmp_path / "memory") == before


def test_a_change_is_planned_with_all_that_follows_from_it(recipe, tmp_path):
    mnemodex.build(recipe)
    before = files(tmp_path / "memory")
    write_jsonl(tmp_path / "notes" / "part-9.jsonl", records()[12:14])
    plan = mnemodex.build(recipe, dry_run=True)
    assert planned(plan)["documents"] == 1
    assert {"documents: repeats", "chunks", "words"} <= set(planned(plan))
    cut = mnemodex.build({**recipe, "chunks": {"by": "tokens", "size": 10}}, dry_run=True)
    assert planned(cut)["documents"] == 1 and planned(cut)["chunks"] >= 3
    assert files(tmp_path / "memory") == before
    assert manifest(tmp_path / "memory").tables["documents"].rows == 12


def test_what_depends_on_what_is_found_is_planned_as_not_known_yet(recipe):
    indexes = {"dense": {"type": "dense"}, "words": {"type": "bm25"}}
    plan = mnemodex.build({**recipe, "indexes": indexes}, dry_run=True)
    (dense,) = [step for step in plan.steps if step.name == "indexes.dense"]
    assert dense.computed == 1 and dense.note == "known when what it reads is computed"
    assert planned(plan)["embeddings/minilm"] == 3


def test_a_source_that_a_build_would_refuse_is_refused(recipe, tmp_path):
    with pytest.raises(SourceError, match="nowhere: no such file or folder"):
        mnemodex.build({**recipe, "source": str(tmp_path / "nowhere")}, dry_run=True)


def test_plans_are_made_beside_a_build_and_beside_each_other(tmp_path):
    recipe = words_recipe(write_parts(tmp_path / "notes", records()[:12], 3), tmp_path / "memory")
    passed = {"memory": str(tmp_path / "memory"), "indexes": recipe["indexes"]}
    plans = []

    def rows():
        """Documents that are read while a build, or a plan, is made."""
        yield from records()[:4]
        before = files(tmp_path / "memory")
        plans.extend(mnemodex.build(passed, source=given, dry_run=True) for given in ([*inner()], inner()))
        plans.append(mnemodex.build(recipe, dry_run=True))
        assert files(tmp_path / "memory") == before
        yield from records()[4:6]

    def inner():
        yield from records()[:2]
        plans.append(mnemodex.build(recipe, dry_run=True))

    assert mnemodex.build(passed, source=rows(), dry_run=True).planned
    assert mnemodex.build(passed, source=rows()).committed
    assert manifest(tmp_path / "memory").tables["documents"].rows == 6
    assert sorted(planned(plan)["documents"] for plan in plans) == [1] * 4 + [3] * 6
    with Store(tmp_path / "memory").lock():
        assert mnemodex.build(recipe, dry_run=True).planned


class TestCommand:
    @pytest.fixture
    def file(self, recipe, tmp_path):
        path = tmp_path / "notes.yaml"
        path.write_text("source: notes\nmemory: memory\nindexes:\n  words: {type: bm25}\n")
        return path

    def test_people_see_the_steps_and_what_is_to_be_computed(self, cli, file, tmp_path):
        ran = cli("build", file, "--dry-run")
        assert (ran.code, ran.err) == (0, "")
        lines = ran.out.splitlines()
        assert lines[0] == "Plan" and lines[1].split() == ["step", "units", "there", "to", "compute", "rows", "there"]
        assert ["documents", "3", "0", "3", "0"] in [line.split() for line in lines]
        assert lines[-1].startswith(f"{tmp_path / 'memory'}: ") and lines[-1].endswith("units to compute")
        assert not (tmp_path / "memory" / "snapshots").exists()
        assert cli("build", file).code == 0
        ran = cli("build", file, "--dry-run")
        assert ["documents", "3", "3", "0", "12"] in [line.split() for line in ran.out.splitlines()]
        assert ran.out.splitlines()[-1] == f"{tmp_path / 'memory'}: up to date: nothing to compute"

    def test_json_has_what_is_planned_in_the_place_of_what_was_computed(self, cli, file, tmp_path):
        told = cli("build", file, "--dry-run", "--json").json
        assert (told["snapshot"], told["committed"], told["engine"]) == (None, False, None)
        assert all("computed" not in step for step in told["steps"])
        assert {step["name"]: step["planned"] for step in told["steps"]}["chunks"] == 3
        assert cli("build", file).code == 0
        told = cli("build", file, "--dry-run", "--json").json
        assert told["snapshot"] == "000001" and sum(step["planned"] for step in told["steps"]) == 0
