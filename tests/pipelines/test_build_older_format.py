"""A memory of a former version's format: refused by whatever opens it, with one message that says what to do."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest
from commands import assert_refused

import mnemodex
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import NewerFormatError, OlderFormatError
from mnemodex.schemas.manifest import FORMAT

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def old(recipe, tmp_path):
    """A memory whose manifest is of format 1."""
    mnemodex.build(recipe)
    return written_as(tmp_path / "memory", 1)


def written_as(memory, version):
    """Give the current manifest a format, and its new checksum to CURRENT."""
    snapshot = memory / "snapshots" / "000001.json"
    content = json.loads(snapshot.read_text())
    # Former manifests had other keys too.
    data = json.dumps({**content, "format": version, "models": {}}).encode()
    snapshot.write_bytes(data)
    (memory / "CURRENT").write_text(f"000001 {hashlib.sha256(data).hexdigest()}\n")
    return memory


def message(memory):
    return (
        f"{memory / 'snapshots' / '000001.json'}: has format 1 of a former version, this version reads format "
        f"{FORMAT}; rebuild the memory: run `mnemodex build RECIPE` with another folder for `memory`, or remove this "
        "one"
    )


def files(memory):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in memory.rglob("*") if path.is_file()}


def test_opening_building_and_verifying_say_the_same(old, recipe):
    before = files(old)
    for opens in (mnemodex.open, verify):
        with pytest.raises(OlderFormatError) as caught:
            opens(old)
        assert str(caught.value) == message(old)
    for dry_run in (False, True):
        with pytest.raises(OlderFormatError) as caught:
            mnemodex.build(recipe, dry_run=dry_run)
        assert str(caught.value) == message(old)
    assert files(old) == before


@pytest.mark.parametrize("command", [["search", "words", "a"], ["sql", "SELECT 1"], ["show"], ["verify"]])
def test_every_command_says_it_in_one_line(old, cli, command):
    name, *rest = command
    assert_refused(cli(name, old, *rest), saying=message(old))


def test_build_says_it_in_one_line_and_does_what_it_says(old, cli, tmp_path):
    path = tmp_path / "notes.yaml"
    path.write_text("source: notes\nmemory: memory\nindexes:\n  words: {type: bm25}\n")
    assert_refused(cli("build", path), saying=message(old))
    assert cli("build", path, "--memory", tmp_path / "other").code == 0
    shutil.rmtree(old)
    assert cli("build", path).code == 0
    assert verify(old).problems == []


def test_a_newer_format_is_another_message(recipe, tmp_path):
    mnemodex.build(recipe)
    with pytest.raises(NewerFormatError, match=f"has format {FORMAT + 1}, .* install a newer mnemodex"):
        mnemodex.open(written_as(tmp_path / "memory", FORMAT + 1))
