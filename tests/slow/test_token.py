"""A cluster that asks for a token, as `ray start` makes it."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from library import records, words_recipe, write_jsonl
from ray_nodes import TOKEN, environment, ray_nodes

import mnemodex

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def head():
    """The address of a head node."""
    with ray_nodes(cpus=2) as cluster:
        yield cluster.address


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
