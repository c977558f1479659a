"""Index files that are changed or cut at random, with right checksums: refused or answered, and no process dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzzing import rounds
from small_memory import build_small

PROGRAM = Path(__file__).with_name("mutants.py")
TESTS = PROGRAM.parents[1]


@pytest.mark.timeout(1800)
@rounds(few=40, many=4000)
def test_a_search_of_changed_files_is_refused_or_answered(tmp_path, counts, rounds):
    memory = build_small(tmp_path)
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(memory), str(rounds)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    counts.update(report["counts"])
    assert report["faults"] == []
