"""The runtime environment of workers: what it gives them, and what is said of one that cannot be used."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from commands import assert_refused

import mnemodex
from mnemodex.schemas.errors import UserError


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("env_vars: {NAME: value}\nworking_dirr: .", "unknown key 'working_dirr'. Ray knows conda, "),
        (
            "env_vars: {NAME: 1}",
            "Ray refuses it (TypeError: runtime_env['env_vars'] must be of type ",
        ),
        ("working_dir: /no/such/folder", "Ray refuses it (ValueError: /no/such/folder is not a valid path"),
        ("{pip: [a], conda: b}", "cannot be specified at the same time"),
        ("- pip", "is a list. Give keys and values"),
        ("pip: [", "is not valid YAML"),
        (None, "cannot be read as a runtime environment"),
    ],
)
def test_a_wrong_one_is_refused_before_anything_is_written(cli, recipe_file, tmp_path, text, reason):
    path = tmp_path / "env.yaml"
    if text is not None:
        path.write_text(text)
    refused = cli("build", recipe_file, "--runtime-env", path)
    assert_refused(refused, saying=f"{path}: ")
    assert reason in refused.err
    assert not (tmp_path / "memory").exists()


def test_python_gives_it_as_a_mapping_too(recipe):
    with pytest.raises(UserError, match=r"^runtime_env: unknown key 'envvars'"):
        mnemodex.build(recipe, runtime_env={"envvars": {}})


def test_it_is_of_no_use_in_this_process(recipe):
    with pytest.raises(UserError, match="--local computes in this process and --runtime-env is for Ray; give one"):
        mnemodex.build(recipe, local=True, runtime_env={})


@pytest.mark.ray
def test_it_comes_too_late_where_ray_runs_already(recipe, ray_session):
    with pytest.raises(UserError, match=r"Ray runs in this process already. Pass it to ray\.init"):
        mnemodex.build(recipe, runtime_env={"env_vars": {"NAME": "value"}})


@pytest.mark.ray
def test_workers_have_the_code_and_the_variables_that_it_names(recipe, tmp_path):
    code = tmp_path / "code"
    code.mkdir()
    (code / "gulls.py").write_text(
        "import os\n"
        "import numpy as np\n"
        "class Whole:\n"
        "    identity = 'whole'\n"
        "    def spans(self, texts):\n"
        "        return [np.array([[0, int(os.environ['GULLS'])]], np.int64) for _ in texts]\n"
    )
    env = {"working_dir": str(code), "env_vars": {"GULLS": "7"}}
    (tmp_path / "env.json").write_text(json.dumps(env))
    script = (
        f"import sys; sys.path.append({str(code)!r}); import gulls, mnemodex\n"
        f"done = mnemodex.build({recipe!r}, chunker=gulls.Whole(), runtime_env={str(tmp_path / 'env.json')!r})\n"
        "print(done.engine)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "Ray\n"), done.stderr
    texts = mnemodex.open(tmp_path / "memory").sql("SELECT DISTINCT len(text) FROM chunks").fetchall()
    assert texts == [(7,)]


@pytest.mark.ray
@pytest.mark.parametrize(
    ("env", "message"),
    [
        (
            "conda: no-such-environment",
            r"the runtime environment of the workers cannot be set up \(.+\)\. Correct --runtime-env",
        ),
        (
            "py_executable: /no/such/python",
            r"no process of the runtime environment \(py_executable: /no/such/python\) starts on node \w{12} in 2 s\. "
            r"Correct --runtime-env: workers need Python 3\.[\d.]+ with Ray 2[\d.]+",
        ),
    ],
)
def test_one_that_cannot_be_set_up_or_starts_no_worker_is_one_message(recipe_file, tmp_path, env, message):
    (tmp_path / "env.yaml").write_text(env)
    script = (
        "from mnemodex.__main__ import main\n"
        "from mnemodex.pipelines import runtime_env\n"
        "assert runtime_env.START_SECONDS <= 30\n"
        "runtime_env.START_SECONDS = 2\n"
        "main()"
    )
    command = [sys.executable, "-c", script, "build", recipe_file, "--runtime-env", tmp_path / "env.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert re.fullmatch(f"error: {message}", done.stderr.splitlines()[-1])
    assert "Traceback" not in done.stderr
