"""Reaching a Ray cluster, or saying in seconds why it cannot be reached; the runtime environment of workers."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from commands import assert_refused
from library import records, words_recipe, write_jsonl

import mnemodex
from mnemodex.pipelines import cluster
from mnemodex.schemas.errors import RayStartError, UserError


@pytest.fixture
def recipe(tmp_path):
    return words_recipe(write_jsonl(tmp_path / "notes.jsonl", records()[:6]), tmp_path / "memory")


@pytest.fixture
def recipe_file(tmp_path, recipe):
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    return path


@pytest.fixture
def apart(monkeypatch):
    """As in a process that is connected to no cluster yet: other tests of this one may be."""
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)


@pytest.fixture
def listener():
    """A port of this machine where something listens and says nothing."""
    with socket.socket() as server:
        server.bind(("", 0))
        server.listen()
        yield server.getsockname()[1]


class Refusing(grpc.GenericRpcHandler):
    """Answers every call as a head node does whose token is another one."""

    def service(self, details):
        def refuse(request, context):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")

        return grpc.unary_unary_rpc_method_handler(refuse)


@pytest.fixture
def refusing():
    server = grpc.server(ThreadPoolExecutor(1), handlers=[Refusing()])
    port = server.add_insecure_port("0.0.0.0:0")
    server.start()
    yield port
    server.stop(None)


@pytest.mark.usefixtures("apart")
class TestAddress:
    """Of a cluster that cannot be used."""

    @pytest.mark.parametrize("scheme", ["", "ray://"])
    def test_a_closed_port_is_one_message_within_ten_seconds(self, cli, recipe_file, listener, scheme):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            address = f"{scheme}127.0.0.1:{taken.getsockname()[1]}"
            began = time.monotonic()
            refused = cli("build", recipe_file, "--address", address)
        assert time.monotonic() - began < 10
        assert_refused(refused, code=1, saying=f"{address}: no Ray cluster can be reached there")
        assert "Check the address, the port and RAY_AUTH_TOKEN" in refused.err

    def test_a_port_where_nothing_answers_is_given_up(self, cli, recipe_file, listener, monkeypatch):
        assert cluster._PROBE_SECONDS <= 5
        monkeypatch.setattr(cluster, "_PROBE_SECONDS", 0.3)
        refused = cli("build", recipe_file, "--address", f"127.0.0.1:{listener}")
        assert_refused(refused, code=1, saying="no Ray cluster can be reached there (Deadline Exceeded)")

    @pytest.mark.parametrize("address", ["nowhere", "no host:1"])
    def test_what_is_no_address_is_said(self, recipe, address):
        with pytest.raises(RayStartError, match=rf"^{address}: no Ray cluster can be reached there"):
            mnemodex.build(recipe, address=address)

    @pytest.mark.parametrize("scheme", ["", "ray://"])
    def test_a_wrong_token_is_said(self, cli, recipe_file, refusing, scheme):
        refused = cli("build", recipe_file, "--address", f"{scheme}127.0.0.1:{refusing}")
        assert_refused(
            refused, code=1, saying="the Ray cluster refuses the token. Set RAY_AUTH_MODE=token and RAY_AUTH"
        )


class TestRuntimeEnv:
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
    def test_a_wrong_one_is_refused_before_anything_is_written(self, cli, recipe_file, tmp_path, text, reason):
        path = tmp_path / "env.yaml"
        if text is not None:
            path.write_text(text)
        refused = cli("build", recipe_file, "--runtime-env", path)
        assert_refused(refused, saying=f"{path}: ")
        assert reason in refused.err
        assert not (tmp_path / "memory").exists()

    def test_python_gives_it_as_a_mapping_too(self, recipe):
        with pytest.raises(UserError, match=r"^runtime_env: unknown key 'envvars'"):
            mnemodex.build(recipe, runtime_env={"envvars": {}})

    def test_it_is_of_no_use_in_this_process(self, recipe, cli, recipe_file, tmp_path):
        with pytest.raises(UserError, match="--local computes in this process and --runtime-env is for Ray; give one"):
            mnemodex.build(recipe, local=True, runtime_env={})

    @pytest.mark.ray
    def test_it_comes_too_late_where_ray_runs_already(self, recipe, ray_session):
        with pytest.raises(UserError, match=r"Ray runs in this process already. Pass it to ray\.init"):
            mnemodex.build(recipe, runtime_env={"env_vars": {"NAME": "value"}})

    @pytest.mark.ray
    def test_workers_have_the_code_and_the_variables_that_it_names(self, recipe, tmp_path):
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
    def test_one_that_cannot_be_set_up_is_one_message(self, recipe_file, tmp_path):
        (tmp_path / "env.yaml").write_text("conda: no-such-environment")
        command = [sys.executable, "-m", "mnemodex", "build", recipe_file, "--runtime-env", tmp_path / "env.yaml"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        message = r"error: the runtime environment of the workers cannot be set up \(.+\)\. Correct --runtime-env\n"
        assert re.fullmatch(message, done.stderr.splitlines(keepends=True)[-1])
        assert "Traceback" not in done.stderr
