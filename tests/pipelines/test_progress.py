"""What a build says while it runs: the closing table, lines now and then, bars on a terminal."""

from __future__ import annotations

import json
import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from library import records, words_recipe, write_parts

import mnemodex
from mnemodex.pipelines import progress as module
from mnemodex.pipelines.messages import Unit
from mnemodex.pipelines.progress import Progress
from mnemodex.schemas.manifest import Artifact, FileEntry, Stats


def artifact(rows, *, reused=0):
    file = FileEntry(path="a", bytes=5, sha256="")
    return Artifact(label="p", fingerprint="f", rows=rows, files=(file,), stats=Stats(reused=reused))


def unit(step, label):
    return Unit(step=step, label=label, fingerprint="f")


@pytest.fixture
def clock(monkeypatch):
    """The time, which goes on as a test says."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(module.time, "perf_counter", lambda: Clock.now)
    return Clock


@pytest.fixture
def said(caplog):
    """The lines so far."""
    caplog.set_level(logging.INFO, logger="mnemodex")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "mnemodex"]


def begun(*names, bars=False):
    made = Progress(bars=bars)
    for name in names:
        made.begin(name)
    return made


class TestReports:
    def test_a_step_counts_what_was_found_and_what_was_computed(self, said, clock):
        progress = begun("chunks")
        progress.done("chunks", "o", artifact(7), computed=False)
        for label, rows in (("p", 2), ("q", 3)):
            progress.todo("chunks")
            clock.now += 2
            progress.done("chunks", label, artifact(rows, reused=1), computed=True)
        progress.end("chunks", "a note")
        (report,) = progress.reports
        assert (report.name, report.partitions, report.computed, report.note) == ("chunks", 3, 2, "a note")
        assert (report.rows, report.rows_computed, report.rows_reused, report.bytes) == (12, 5, 2, 15)
        assert (report.seconds, report.rate) == (4, 5 / 4)
        assert said() == ["chunks: 2 of 2 partitions, 5 rows, 4.0 s"]

    def test_a_step_with_nothing_to_do_says_nothing(self, said):
        progress = begun("chunks")
        progress.done("chunks", "p", artifact(7), computed=False)
        progress.end("chunks", "")
        assert said() == [] and progress.reports[0].rate is None

    def test_the_reports_are_in_the_order_of_the_steps(self):
        progress = begun("documents", "chunks", "words")
        progress.todo("words")
        progress.done("words", "p", artifact(1), computed=True)
        progress.end("words", "")
        assert [report.name for report in progress.reports] == ["documents", "chunks", "words"]

    def test_the_clock_of_a_step_runs_from_its_first_unit(self, clock):
        progress = begun("documents", "chunks")
        clock.now += 50
        progress.todo("chunks")
        clock.now += 3
        progress.done("chunks", "p", artifact(6), computed=True)
        assert (progress.reports[1].seconds, progress.reports[1].rate) == (3, 2)

    def test_a_plan_counts_what_would_be_computed(self):
        progress = begun("documents", "chunks")
        progress.done("documents", "p", artifact(7), computed=False)
        progress.plan({"documents": 0, "chunks": 3}, ["graph"])
        found = [report.to_json(planned=True) for report in progress.reports]
        assert [(one["name"], one["partitions"], one["planned"]) for one in found] == [
            ("documents", 1, 0),
            ("chunks", 3, 3),
            ("graph", 1, 1),
        ]
        assert found[2]["note"] == "known when what it reads is computed"
        assert all("computed" not in one for one in found)

    def test_reports_are_json(self):
        progress = begun("chunks")
        progress.todo("chunks")
        progress.done("chunks", "p", artifact(2), computed=True)
        made = json.loads(json.dumps(progress.reports[0].to_json(planned=False)))
        assert made.pop("seconds") >= 0
        assert made == {
            "name": "chunks",
            "partitions": 1,
            "computed": 1,
            "rows": 2,
            "rows_computed": 2,
            "rows_reused": 0,
            "bytes": 5,
            "cache": False,
        }


class TestLines:
    def test_long_steps_say_a_line_now_and_then(self, said, clock):
        progress = begun("embed")
        for number in range(6):
            progress.todo("embed", 6 - number)
            clock.now += 4
            progress.done("embed", str(number), artifact(1), computed=True)
        lines = said()
        assert [line.split(",")[0] for line in lines] == [
            "stage 1 of 1: embed: 3 of 6 partitions",
            "stage 1 of 1: embed: 6 of 6 partitions",
        ]

    def test_a_line_has_the_number_of_the_step_rows_rate_and_remaining_time(self, said, clock):
        progress = begun(*(f"step {number}" for number in range(9)))
        progress.todo("step 2", 4)
        clock.now += 20
        progress.done("step 2", "p", artifact(3000), computed=True)
        assert said() == ["stage 3 of 9: step 2: 1 of 4 partitions, 3,000 rows, 150 rows/s, about 60 s left"]

    def test_rows_within_a_partition_count(self, said, clock):
        progress = begun("embed")
        progress.todo("embed", 2)
        clock.now += 11
        progress.rows(unit("embed", "p"), 220)
        clock.now += 11
        progress.rows(unit("embed", "p"), 440)
        assert said() == [
            "stage 1 of 1: embed: 0 of 2 partitions, 220 rows, 20 rows/s",
            "stage 1 of 1: embed: 0 of 2 partitions, 440 rows, 20 rows/s",
        ]
        progress.done("embed", "p", artifact(1000), computed=True)
        progress.todo("embed", 1)
        clock.now += 3
        progress.rows(unit("embed", "q"), 250)
        clock.now += 25 - 3
        progress.rows(unit("embed", "q"), 500)
        assert said()[2] == "stage 1 of 1: embed: 1 of 2 partitions, 1,500 rows, 32 rows/s, about 16 s left"

    def test_several_partitions_at_once_are_added_up(self, said, clock):
        progress = begun("embed")
        for label in "pq":
            progress.todo("embed", 2)
            progress.rows(unit("embed", label), 10)
        clock.now += 20
        progress.rows(unit("embed", "p"), 30)
        assert said() == ["stage 1 of 1: embed: 0 of 2 partitions, 40 rows, 2 rows/s"]
        progress.done("embed", "p", artifact(50), computed=True)
        assert progress.reports[0].rows_computed == 50

    def test_steps_for_intermediate_results_have_no_number(self, said, clock):
        progress = Progress()
        for name, cache in (("documents", False), ("documents: repeats", True), ("chunks", False)):
            progress.begin(name, cache=cache)
        progress.waiting = 2
        for name in ("documents: repeats", "chunks"):
            progress.todo(name)
            clock.now += 11
            progress.done(name, "p", artifact(11), computed=True)
        assert [line.split(", ")[0] for line in said()] == [
            "documents: repeats: 1 of 1 partitions",
            "stage 2 of 4: chunks: 1 of 1 partitions",
        ]

    def test_what_was_found_before_is_not_waited_for(self, said, clock):
        progress = begun("embed")
        for number in range(7):
            progress.done("embed", str(number), artifact(100), computed=False)
        progress.todo("embed", 3)
        clock.now += 20
        progress.done("embed", "7", artifact(100), computed=True)
        assert said() == ["stage 1 of 1: embed: 1 of 3 partitions, 100 rows, 5 rows/s, about 40 s left"]

    def test_steps_without_rows_say_no_rate(self, said, clock):
        progress = begun("check")
        progress.todo("check", 2)
        clock.now += 11
        progress.done("check", "p", artifact(0), computed=True)
        assert said() == ["stage 1 of 1: check: 1 of 2 partitions"]

    @pytest.mark.parametrize(("seconds", "rate"), [(20, "60"), (120, "10"), (130, "9.2"), (2400, "0.5")])
    def test_slow_steps_have_a_rate_too(self, said, clock, seconds, rate):
        progress = begun("triples")
        progress.todo("triples")
        clock.now += seconds
        progress.done("triples", "p", artifact(1200), computed=True)
        assert said() == [f"stage 1 of 1: triples: 1 of 1 partitions, 1,200 rows, {rate} rows/s"]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50), st.booleans()), max_size=30))
def test_rows_and_partitions_add_up_whatever_comes_when(events):
    progress = begun("a", "b", "c", "d")
    rows, computed, partitions = [0] * 4, [0] * 4, [0] * 4
    for number, (step, count, new) in enumerate(events):
        name = "abcd"[step]
        if new:
            progress.todo(name)
            progress.rows(unit(name, str(number)), count // 2)
        progress.done(name, str(number), artifact(count), computed=new)
        rows[step], partitions[step], computed[step] = rows[step] + count, partitions[step] + 1, computed[step] + new
    found = [(report.rows, report.partitions, report.computed) for report in progress.reports]
    assert found == list(zip(rows, partitions, computed, strict=True))


class TestBars:
    def test_bars_are_drawn_on_stderr_only(self, capsys, said):
        progress = begun("embed", bars=True)
        progress.todo("embed", 2)
        progress.rows(unit("embed", "p"), 1)
        progress.done("embed", "p", artifact(1), computed=True)
        progress.todo("embed", 1)
        progress.done("embed", "q", artifact(1), computed=True)
        progress.end("embed", "")
        progress.close()
        assert capsys.readouterr().out == "" and said() == []

    def test_a_bar_has_what_a_line_has(self, monkeypatch, clock):
        drawn = []

        def update(self, bar, *, description, completed, total, rate):
            drawn.append((description, completed, total, rate))

        monkeypatch.setattr("rich.progress.Progress.update", update)
        progress = begun("documents", "embed", bars=True)
        progress.todo("embed", 3)
        clock.now += 10
        progress.rows(unit("embed", "p"), 500)
        progress.done("embed", "p", artifact(1000), computed=True)
        progress.close()
        assert drawn == [
            ("stage 2 of 2: embed", 0, 3, ""),
            ("stage 2 of 2: embed", 0, 3, "500 rows, 50 rows/s"),
            ("stage 2 of 2: embed", 1, 3, "1,000 rows, 100 rows/s, about 20 s left"),
        ]

    def test_nothing_is_drawn_where_nothing_is_computed(self, capsys):
        progress = begun("embed", bars=True)
        progress.done("embed", "p", artifact(1), computed=False)
        progress.end("embed", "")
        progress.close()
        assert capsys.readouterr() == ("", "")


class TestBuild:
    @pytest.fixture
    def recipe(self, tmp_path):
        return words_recipe(write_parts(tmp_path / "notes", records()[:8], 4), tmp_path / "memory")

    def test_every_step_says_its_line_when_it_is_complete(self, recipe, inline, said):
        mnemodex.build(recipe)
        names = [re.split(r": \d", line)[0] for line in said()]
        assert names[:2] == ["source: files", "source: partitions"]
        assert names[2:] == [*("documents", "documents: repeats", "documents: ids", "chunks", "chunks: ids", "words")]

    def test_lines_come_while_later_steps_are_still_to_be_computed(self, recipe, inline, said, monkeypatch):
        seen = []
        real = inline.submit

        def submit(self, step, unit):
            seen.append((step.name, len(said())))
            real(self, step, unit)

        monkeypatch.setattr(inline, "submit", submit)
        mnemodex.build(recipe)
        assert dict(seen)["words"] > 0

    def test_the_remaining_time_knows_of_units_that_wait(self, recipe, inline, said, monkeypatch, clock):
        real = inline.submit

        def submit(self, step, unit):
            clock.now += 11
            real(self, step, unit)

        monkeypatch.setattr(inline, "submit", submit)
        mnemodex.build(recipe)
        chunks = [line for line in said() if ": chunks: " in line]
        assert [re.search(r"(\d) of (\d) partitions", line).groups() for line in chunks] == [
            (str(number), "4") for number in range(4)
        ]
        assert chunks[1].endswith("4 rows, 0.18 rows/s, about 22 s left") and chunks[3].endswith("about 0 s left")

    def test_a_worker_says_how_far_it_is_within_a_partition(self, recipe, inline):
        told = []

        class Told(Progress):
            def rows(self, unit, rows):
                told.append((unit.step, rows))
                super().rows(unit, rows)

        mnemodex.build(recipe, progress=Told())
        assert ("documents", 2) in told and ("chunks", 2) in told

    def test_the_closing_table_adds_up(self, recipe, inline, tmp_path):
        reports = {report.name: report for report in mnemodex.build(recipe).steps}
        assert [reports[name].rows for name in ("documents", "chunks", "words")] == [8, 8, 8]
        assert reports["documents: repeats"].cache and not reports["chunks"].cache
        again = {report.name: report for report in mnemodex.build(recipe).steps}
        assert sum(report.computed for report in again.values()) == 0
        assert {name: report.rows for name, report in again.items()} == {
            name: report.rows for name, report in reports.items()
        }
