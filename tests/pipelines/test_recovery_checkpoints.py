"""kill -9 in the middle of a model's work: the next build does only the rest of it, and its numbers are the same."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from builds import manifest
from killed_build import small_batches
from language_models import saved
from library import records, write_jsonl, write_triples

import mnemodex
from mnemodex.indexers.encoders.local import Encoder
from mnemodex.indexers.lm.reader import StateReader
from mnemodex.pipelines import trial
from mnemodex.pipelines.extractors.file import FileExtractor
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.store import parquet

PROGRAM = Path(__file__).with_name("killed_build.py")
TABLES = {"vectors": "embeddings/minilm", "states": "lm_states/tiny"}
TIMES = {"vectors": 2, "states": 50}
"""After how many writes builds are killed: of batches of vectors, or of windows."""
BATCH = {"vectors": 1, "states": 4}
"""What may be kept in parts: a batch of vectors is kept at once, one of windows is not."""


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    small_batches(monkeypatch)


@pytest.fixture(scope="module")
def sections(tmp_path_factory):
    """The recipe's sections by what its model makes."""
    model = saved("llama", tmp_path_factory.mktemp("llama"))
    return {
        "vectors": {"indexes": {"dense": {"type": "dense", "factory": "Flat"}}},
        "states": {"indexes": {}, "lm": {"tiny": {"model": model, "window": 32, "overlap": 8}}},
    }


@pytest.fixture(scope="module")
def undisturbed(sections, tmp_path_factory):
    """Memories that nobody disturbed, by what the model makes; and how many rows or windows it worked on."""
    folder = tmp_path_factory.mktemp("undisturbed")
    source = write_jsonl(folder / "notes.jsonl", records())
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        small_batches(patch)
        count = counted(patch)
        for name, recipe in sections.items():
            before = sum(count)
            mnemodex.build({"source": str(source), **recipe}, memory=folder / name, local=True)
            made[name] = folder / name, sum(count) - before
    return made


def counted(patch):
    """A list that grows by the rows, or windows, of every batch that a model works on."""
    found = []
    # A model is tried once in a process, which counts too.
    patch.setattr(trial, "_here", set())
    features, start = Encoder._features, StateReader._start
    patch.setattr(Encoder, "_features", lambda self, *given: found.append(len(given[2])) or features(self, *given))
    patch.setattr(StateReader, "_start", lambda self, *given: found.append(len(given[1])) or start(self, *given))
    return found


def killed(recipe, folder, times):
    """Build in a process of its own until the model's work was kept so many times."""
    path = folder / "recipe.json"
    path.write_text(json.dumps(recipe))
    done = subprocess.run([sys.executable, str(PROGRAM), str(path), str(times)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.fixture(scope="module")
def stopped(sections, tmp_path_factory):
    """Gives a test its own copy of a build that was killed: the recipe, and the memory as it was left."""
    left = {}

    def copied(what, folder):
        if what not in left:
            left[what] = tmp_path_factory.mktemp(what)
            source = write_jsonl(left[what] / "notes.jsonl", records())
            recipe = {"source": str(source), "memory": str(left[what] / "memory"), **sections[what]}
            killed(recipe, left[what], TIMES[what])
        memory = shutil.copytree(left[what] / "memory", folder / "memory")
        return {"source": str(left[what] / "notes.jsonl"), "memory": str(memory), **sections[what]}, memory

    return copied


def kept(memory):
    """Rows, or windows, of what was kept."""
    rows = 0
    for path in memory.glob("work/partial/*.arrow"):
        with pa.ipc.open_stream(path.read_bytes()) as reader:
            rows += reader.read_all().num_rows
    return rows


def assert_same_numbers(memory, other, table):
    """Both memories have the same rows and matrices, bit by bit."""
    parts, wanted = (manifest(root).tables[table].partitions for root in (memory, other))
    for part, one in zip(parts, wanted, strict=True):
        assert (memory / part.file(".npy").path).read_bytes() == (other / one.file(".npy").path).read_bytes()
        rows = [parquet.read(root / each.file(".parquet").path) for root, each in ((memory, part), (other, one))]
        assert rows[0].equals(rows[1])


@pytest.mark.parametrize("what", TABLES)
def test_the_next_build_does_the_rest_and_its_numbers_are_those_of_one_build(
    stopped, undisturbed, tmp_path, monkeypatch, what
):
    recipe, memory = stopped(what, tmp_path)
    peaceful, total = undisturbed[what]
    first = kept(memory)
    killed(recipe, tmp_path, 1)
    assert 0 < first < kept(memory) < total, "the second goes on from there too"
    there = kept(memory)
    assert not (memory / "CURRENT").exists() and not list(memory.glob("tables/embeddings/**/*.npy"))
    worked = counted(monkeypatch)
    mnemodex.build(recipe, local=True)
    assert total - there <= sum(worked) < total - there + BATCH[what], "no more again than what a batch has"
    assert_same_numbers(memory, peaceful, TABLES[what])
    assert verify(memory).problems == []
    assert not list(memory.glob("work/partial/*"))


@pytest.mark.parametrize("what", TABLES)
def test_what_was_kept_and_is_damaged_is_done_again(stopped, undisturbed, tmp_path, monkeypatch, what):
    recipe, memory = stopped(what, tmp_path)
    peaceful, total = undisturbed[what]
    first, *_, last = sorted(memory.glob("work/partial/*.arrow"))
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    last.write_bytes(b"")
    worked = counted(monkeypatch)
    mnemodex.build(recipe, local=True)
    assert sum(worked) == total if what == "vectors" else sum(worked) < total
    assert_same_numbers(memory, peaceful, TABLES[what])


def test_what_was_kept_under_other_settings_is_not_used(stopped, tmp_path, monkeypatch):
    recipe, memory = stopped("vectors", tmp_path)
    worked = counted(monkeypatch)
    bare = {**recipe, "embed": {"minilm": {"with_title": False}}}
    mnemodex.build(bare, local=True)
    assert sum(worked) >= len(records())
    mnemodex.build(bare, memory=tmp_path / "fresh", local=True)
    assert_same_numbers(memory, tmp_path / "fresh", "embeddings/minilm")


def test_triples_that_were_found_are_not_looked_for_again(tmp_path, monkeypatch):
    monkeypatch.setattr("mnemodex.pipelines.extractors.extract._BATCH", 8)
    source = write_jsonl(tmp_path / "notes.jsonl", records())
    triples = write_triples(tmp_path / "triples.jsonl", records())
    recipe = {"source": str(source), "triples": {"from": str(triples)}, "indexes": {}}
    extract, asked = FileExtractor.extract, []

    def stopped(self, documents):
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append(len(documents))
        return extract(self, documents)

    with monkeypatch.context() as patch:
        patch.setattr(FileExtractor, "extract", stopped)
        with pytest.raises(KeyboardInterrupt):
            mnemodex.build(recipe, memory=tmp_path / "memory", local=True)
    again = []
    with monkeypatch.context() as patch:
        patch.setattr(FileExtractor, "extract", lambda self, given: again.append(len(given)) or extract(self, given))
        mnemodex.build(recipe, memory=tmp_path / "memory", local=True)
    mnemodex.build(recipe, memory=tmp_path / "fresh", local=True)
    query = "SELECT * FROM triples ORDER BY triple_id"
    tables = [mnemodex.open(tmp_path / name).sql(query).to_arrow_table() for name in ("memory", "fresh")]
    assert tables[0].num_rows > 50 and tables[0].equals(tables[1])
    assert sum(asked) == 24 and sum(asked) + sum(again) == len(records())


def test_nothing_is_kept_of_a_unit_that_is_done(sections, tmp_path):
    source = write_jsonl(tmp_path / "notes.jsonl", records()[:10])
    mnemodex.build({"source": str(source), **sections["vectors"]}, memory=tmp_path / "memory", local=True)
    assert kept(tmp_path / "memory") == 0 and not list(tmp_path.glob("memory/work/partial/*"))
    vectors = mnemodex.open(tmp_path / "memory").sql("SELECT vector FROM embeddings_minilm").to_arrow_table()
    assert np.isfinite(np.array(vectors["vector"].to_pylist())).all()
