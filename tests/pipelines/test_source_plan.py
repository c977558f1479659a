"""Planning a source: by workers, remembered while the files stay as they are; and files that do not stay."""

from __future__ import annotations

import gzip
import json
import os

import pytest
from builds import keys
from library import records, words_recipe, write_jsonl, write_parts

import mnemodex
from mnemodex.pipelines import source_plan
from mnemodex.pipelines.documents.read import ReadOp
from mnemodex.pipelines.documents.splits import ScanOp, read_split
from mnemodex.pipelines.source_plan import plan_source
from mnemodex.pipelines.sources import files as source_files
from mnemodex.pipelines.sources.packing import Packing
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.recipe import parse_recipe
from mnemodex.schemas.store.store import Store

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def notes(tmp_path):
    return write_parts(tmp_path / "notes", records()[:12], 3)


@pytest.fixture
def recipe(notes, tmp_path):
    return words_recipe(notes, tmp_path / "memory")


@pytest.fixture
def scanned(monkeypatch):
    """The labels of the units that were scanned since a test cleared it."""
    found = []
    run = ScanOp.run
    monkeypatch.setattr(
        ScanOp, "run", lambda self, inputs, output: found.append(inputs.unit.label) or run(self, inputs, output)
    )
    return found


def planned(recipe, tmp_path):
    """The pieces of each split, by label."""
    store = Store(tmp_path / "memory")
    store.prepare()
    units = plan_source(store, parse_recipe(recipe, name="r", base=tmp_path)).units
    return {unit.label: read_split(store, unit.data, unit.label).pieces for unit in units}


def step(result, name):
    (found,) = [step for step in result.steps if step.name == name]
    return found


class TestRemembered:
    def test_files_that_stay_are_scanned_once(self, recipe, scanned):
        first = mnemodex.build(recipe)
        assert scanned == ["part-0.jsonl-0"] and step(first, "source: files").computed == 1
        scanned.clear()
        again = mnemodex.build(recipe)
        assert (scanned, again.committed, step(again, "source: files").computed) == ([], False, 0)

    def test_a_dry_run_scans_for_the_build(self, recipe, scanned, tmp_path):
        mnemodex.build(recipe, dry_run=True)
        assert len(scanned) == 1
        assert {path.name for path in (tmp_path / "memory").iterdir()} == {"work"}
        mnemodex.build(recipe)
        assert len(scanned) == 1

    def test_a_touched_file_is_scanned_again_and_nothing_follows(self, recipe, notes, scanned):
        mnemodex.build(recipe)
        os.utime(notes / "part-1.jsonl", ns=(1, 1))
        scanned.clear()
        again = mnemodex.build(recipe)
        assert len(scanned) == 1 and not again.committed and step(again, "documents").computed == 0

    def test_what_was_known_of_former_files_is_removed(self, recipe, notes, tmp_path):
        mnemodex.build(recipe)
        before = sorted(path.name for path in (tmp_path / "memory" / "work").rglob("*") if path.is_file())
        write_jsonl(notes / "part-3.jsonl", records()[12:14])
        mnemodex.build(recipe)
        after = sorted(path.name for path in (tmp_path / "memory" / "work").rglob("*") if path.is_file())
        assert len(after) == len(before) and not {name for name in after if "part-" in name} & set(before)

    def test_only_the_units_of_changed_files_are_scanned(self, recipe, notes, scanned, monkeypatch):
        monkeypatch.setattr(source_plan, "_UNIT_BYTES", 1)
        mnemodex.build(recipe)
        assert len(scanned) == 3
        scanned.clear()
        write_jsonl(notes / "part-1.jsonl", records()[12:14])
        mnemodex.build(recipe)
        assert scanned == ["part-1.jsonl-0"]

    def test_a_damaged_plan_is_found_out_again(self, recipe, tmp_path):
        mnemodex.build(recipe)
        for path in (tmp_path / "memory" / "work" / "plan").rglob("*.json"):
            path.write_text("{")
        assert not mnemodex.build(recipe).committed


class TestRanges:
    @pytest.mark.parametrize("ending", ["", ".gz"])
    def test_a_large_file_is_planned_in_ranges_as_in_one(self, tmp_path, scanned, monkeypatch, ending):
        lines = "".join(json.dumps({"id": f"d{n}", "text": "word " * (n % 50)}) + "\n" for n in range(400)).encode()
        path = tmp_path / f"notes.jsonl{ending}"
        path.write_bytes(gzip.compress(lines) if ending else lines)
        monkeypatch.setattr(source_plan, "PACKING", Packing(rows=30, bytes=1000))
        recipe = words_recipe(path, tmp_path / "memory")
        whole = planned(recipe, tmp_path / "whole")
        assert scanned == [f"notes.jsonl{ending}-0"]
        scanned.clear()
        monkeypatch.setattr(source_plan, "_UNIT_BYTES", 7500)
        assert planned(recipe, tmp_path / "ranges") == whole and len(whole) > 20
        assert len(scanned) == (1 if ending else -(-len(lines) // 8000))
        mnemodex.build(recipe)
        found = mnemodex.open(tmp_path / "memory").sql("SELECT key, line FROM documents ORDER BY line").fetchall()
        assert found == [(f"d{number}", number + 1) for number in range(400)]


class TestFilesThatDoNotStay:
    def test_a_file_that_vanishes_before_it_is_scanned_is_named(self, recipe, notes, monkeypatch, tmp_path):
        with monkeypatch.context() as patch:
            patch.setattr(ScanOp, "run", _before(notes / "part-1.jsonl", ScanOp.run, lambda path: path.unlink()))
            with pytest.raises(SourceError, match=r"part-1\.jsonl: cannot be read \(no such file or folder\); put"):
                mnemodex.build(recipe)
        self.builds(recipe, tmp_path, 8)

    def test_a_file_that_vanishes_between_planning_and_reading_is_named(self, recipe, notes, monkeypatch, tmp_path):
        monkeypatch.setattr(ReadOp, "run", _before(notes / "part-1.jsonl", ReadOp.run, lambda path: path.unlink()))
        with pytest.raises(SourceError, match=r"part-1\.jsonl: cannot be read \(no such file or folder\); put"):
            mnemodex.build(recipe)

    def test_a_link_to_nothing_is_named(self, recipe, notes, tmp_path):
        link = notes / "part-0a.jsonl"
        link.symlink_to("nowhere")
        with pytest.raises(SourceError, match=r"part-0a\.jsonl: cannot be read \(a link to nothing\); put"):
            mnemodex.build(recipe)
        link.unlink()
        self.builds(recipe, tmp_path, 12)

    def test_empty_files_are_counted_and_named_by_every_build(self, recipe, notes, tmp_path):
        (notes / "part-0a.jsonl").touch()
        (notes / "part-0b.jsonl").touch()
        says = ["2 files of the source have no bytes: part-0a.jsonl, …; remove what should not be there"]
        assert mnemodex.build(recipe).warnings == says
        assert mnemodex.build(recipe).warnings == says
        self.builds(recipe, tmp_path, 12)

    @pytest.mark.parametrize("op", [ScanOp, ReadOp])
    def test_a_file_that_changes_while_it_is_planned_or_read_is_named(self, recipe, notes, monkeypatch, tmp_path, op):
        change = _before(notes / "part-1.jsonl", op.run, lambda path: write_jsonl(path, records()[12:14]))
        with monkeypatch.context() as patch:
            patch.setattr(op, "run", change)
            with pytest.raises(SourceError, match=r"part-1\.jsonl: has changed while the build read it; start"):
                mnemodex.build(recipe)
        assert Store(tmp_path / "memory").current() is None
        self.builds(recipe, tmp_path, 10)

    def test_a_file_of_this_very_moment_is_scanned_a_moment_later(self, recipe, notes, monkeypatch):
        slept = []
        monkeypatch.setattr(source_files.time, "sleep", slept.append)
        now = source_files.time.time_ns()
        monkeypatch.setattr(source_files.time, "time_ns", lambda: now)
        for path in notes.iterdir():
            os.utime(path, ns=(now - 10**9, now - 10**9))
        mnemodex.build(recipe)
        assert slept == []
        os.utime(notes / "part-1.jsonl", ns=(now, now))
        mnemodex.build(recipe)
        assert len(slept) == 1

    def builds(self, recipe, tmp_path, count):
        mnemodex.build(recipe)
        assert len(keys(tmp_path / "memory")) == count


def _before(path, run, change):
    """The method `run` of an op, before whose first call a file changes."""

    def changed(self, inputs, output):
        if not changed.done:
            changed.done = True
            change(path)
        return run(self, inputs, output)

    changed.done = False
    return changed
