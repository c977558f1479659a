"""Adapters in environments of their own: the tests of other libraries bring plug-ins that would load in every run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SUITES = Path(__file__).parents[1] / "adapters"
ROOT = SUITES.parents[1]


@pytest.fixture(params=["langchain", "llamaindex"])
def suite(request, tmp_path):
    """A suite's file, and the Python of an environment with its library, which finds ours and its packages last."""
    packages = {"langchain": ("langchain-core", "langchain-tests"), "llamaindex": ("llama-index-core", "pytest")}
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    ran = subprocess.run([*pip, *packages[request.param]], capture_output=True, text=True, timeout=900, check=False)
    if ran.returncode:
        pytest.skip(f"{request.param} cannot be installed here: {ran.stderr[-300:]}")
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    ours = [str(ROOT), *(path for path in sys.path if Path(path).name == "site-packages")]
    (site / "ours.pth").write_text("\n".join(ours) + "\n")
    return SUITES / f"{request.param}_suite.py", python


@pytest.mark.timeout(1800)
def test_a_suite_passes(suite, library):
    path, python = suite
    # LangChain's tests are coroutines, which a plug-in that comes with them runs.
    options = ["-q", "--noconftest", "-c", os.devnull, "-p", "no:cacheprovider", "-o", "asyncio_mode=auto"]
    command = [str(python), "-m", "pytest", *options, str(path)]
    environment = {**os.environ, "MNEMODEX_LIBRARY": str(library), "PYTHONPATH": str(SUITES)}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900, check=False)
    assert ran.returncode == 0, ran.stdout[-5000:] + ran.stderr[-2000:]
    assert int(re.findall(r"(\d+) passed", ran.stdout)[-1]) >= 7
