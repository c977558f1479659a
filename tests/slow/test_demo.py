"""The demo as a new user runs it: all of it, which the documentation's tests shorten."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.timeout(1800)
def test_the_demo_answers_three_questions_by_pairs_and_declines_one(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mnemodex", "demo"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout.partition("Questions, each answered by a pair")[2].partition("The same in SQL")[0]
    assert told.count("    [") == 3
    assert told.count("does not know") == 1
