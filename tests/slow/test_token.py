"""A cluster that asks for a token, as `ray start` makes it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import uuid

import pytest
from library import records, words_recipe, write_jsonl
from processes import kill_tagged, wait_until

import mnemodex

pytestmark = pytest.mark.slow

TOKEN = "a" * 40


@pytest.fixture(scope="module")
def head():
    """The address of a head node."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tag = f"MNEMODEX_TEST={uuid.uuid4().hex}"
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", f"--port={port}", "--num-cpus=2"]
    process = subprocess.Popen(
        [*command, "--include-dashboard=false", "--block"],
        env={**environment(TOKEN), **dict([tag.split("=")])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: answers(port), step=0.2)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
        kill_tagged(tag)


def environment(token):
    return {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def build(folder, address, token):
    """Exit code and stderr of the command line's build, and the seconds that it took."""
    recipe = words_recipe(write_jsonl(folder / "notes.jsonl", records()[:4]), folder / "memory")
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    command = [sys.executable, "-m", "mnemodex", "build", str(folder / "recipe.yaml"), "--address", address]
    began = time.monotonic()
    done = subprocess.run(command, env=environment(token), capture_output=True, text=True, check=False)
    return done.returncode, done.stderr, time.monotonic() - began


@pytest.mark.parametrize("token", ["b" * 40, ""])
def test_a_build_with_a_wrong_token_ends_within_ten_seconds(head, tmp_path, token):
    code, said, seconds = build(tmp_path, head, token)
    assert code == 1 and seconds < 10
    assert said == (
        f"error: {head}: the Ray cluster refuses the token. Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as on its head "
        "node\n"
    )


def test_a_build_with_the_right_one_is_made(head, tmp_path):
    code, said, _ = build(tmp_path, head, TOKEN)
    assert code == 0, said
    assert mnemodex.open(tmp_path / "memory").sql("SELECT count(*) FROM documents").fetchall() == [(4,)]
