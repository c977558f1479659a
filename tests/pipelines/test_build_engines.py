"""Where a build computes: in this process where little is to be done or the user says so, else on Ray."""

from __future__ import annotations

import subprocess
import sys

import pytest
from commands import assert_refused
from library import records, words_recipe, write_parts
from passed_objects import Hashed, Sentences, Slow

import mnemodex
from mnemodex.pipelines import run
from mnemodex.pipelines.progress import Progress
from mnemodex.pipelines.ray_engine import RayEngine
from mnemodex.schemas.errors import UserError


@pytest.fixture
def recipe(tmp_path):
    return words_recipe(write_parts(tmp_path / "notes", records()[:6], 2), tmp_path / "memory")


class ChosenError(Exception):
    """Raised in the place of starting Ray."""


@pytest.fixture
def no_ray(monkeypatch):
    """Ray is to start, and does not; every cluster answers, also where this process has not started Ray before."""

    def start(self):
        raise ChosenError(self._address)

    monkeypatch.setattr(RayEngine, "_started", start)
    monkeypatch.setattr(run, "check_address", lambda address: None)


def test_a_small_build_stays_in_this_process(recipe, no_ray):
    assert mnemodex.build(recipe).engine == "this process"


def test_a_large_build_or_an_address_takes_ray_and_local_does_not(recipe, no_ray, monkeypatch):
    with pytest.raises(ChosenError, match="ray://there"):
        mnemodex.build(recipe, address="ray://there")
    monkeypatch.setattr("mnemodex.pipelines.engine.LOCAL_SECONDS", 0)
    with pytest.raises(ChosenError, match="None"):
        mnemodex.build(recipe)
    result = mnemodex.build(recipe, local=True)
    assert (result.engine, result.committed, result.start_seconds) == ("this process", True, 0)


def test_local_and_an_address_at_once_are_refused_before_anything_is_written(recipe, tmp_path, no_ray):
    for options in ({}, {"dry_run": True}):
        with pytest.raises(UserError, match="--local computes in this process and --address on a cluster; give one"):
            mnemodex.build(recipe, local=True, address="auto", **options)
    assert not (tmp_path / "memory").exists()
    # Also where nothing is to be computed.
    mnemodex.build(recipe)
    with pytest.raises(UserError, match="give one of them"):
        mnemodex.build(recipe, local=True, address="auto")


def test_on_the_command_line(cli, recipe, tmp_path, no_ray, monkeypatch):
    path = tmp_path / "notes.yaml"
    path.write_text("source: notes\nmemory: memory\nindexes:\n  words: {type: bm25}\n")
    refused = cli("build", path, "--local", "--address", "auto")
    assert_refused(refused, saying="--local computes in this process and --address on a cluster; give one of them")
    monkeypatch.setattr("mnemodex.pipelines.engine.LOCAL_SECONDS", 0)
    assert cli("build", path, "--local", "--json").json["engine"] == "this process"


def test_a_build_in_this_process_does_not_even_import_ray(recipe, tmp_path):
    path = tmp_path / "notes.yaml"
    path.write_text("source: notes\nmemory: memory\nindexes:\n  words: {type: bm25}\n")
    script = f"import sys, mnemodex; mnemodex.build({str(path)!r}); print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.ray
def test_a_worker_on_ray_says_how_far_it_is_within_a_partition(tmp_path, ray_session):
    told = []

    class Told(Progress):
        def rows(self, unit, rows):
            told.append((unit.step, unit.label, rows))
            super().rows(unit, rows)

    rows = [{"id": number, "text": f"note {number}"} for number in range(700)]
    result = mnemodex.build(
        {"indexes": {"dense": {"type": "dense", "factory": "Flat"}}},
        memory=tmp_path / "memory",
        source=rows,
        encoders={"mine": Slow(seconds=1.2)},
        address="local",
        progress=Told(),
    )
    assert (result.engine, result.committed) == ("Ray", True)
    ((label, counts),) = {
        label: sorted({rows for step, other, rows in told if (step, other) == ("embeddings/mine", label)})
        for step, label, _ in told
        if step == "embeddings/mine"
    }.items()
    assert label == "documents.jsonl-00000" and set(counts) >= {256, 512} and counts[-1] <= 700


@pytest.mark.ray
def test_what_a_caller_passes_travels_to_workers_on_ray(tmp_path, ray_session):
    recipe = {"indexes": {"dense": {"type": "dense", "factory": "Flat"}, "words": {"type": "bm25"}}}
    given = {"source": records()[:9], "chunker": Sentences(), "encoders": {"mine": Hashed()}}
    assert mnemodex.build(recipe, memory=tmp_path / "ray", address="local", **given).engine == "Ray"
    assert mnemodex.build(recipe, memory=tmp_path / "here", local=True, **given).engine == "this process"
    query = "SELECT * FROM embeddings_mine ORDER BY chunk_id"
    tables = [mnemodex.open(tmp_path / name).sql(query).to_arrow_table() for name in ("ray", "here")]
    assert tables[0].num_rows > 9 and tables[0].equals(tables[1])
