"""Plans from processes of their own and from Ray, against what builds of the same documents write."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import mnemodex

pytestmark = pytest.mark.slow

ROWS = 3000


@pytest.fixture
def recipe(tmp_path):
    """Documents of words by Zipf's law."""
    drawn = (np.random.default_rng(3).zipf(1.4, (ROWS, 40)) - 1) % 20_000
    rows = ({"id": str(n), "title": f"t{n}", "text": " ".join(f"w{w:x}" for w in row)} for n, row in enumerate(drawn))
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "recipe.yaml"
    path.write_text("source: corpus.jsonl\nindexes: {words: {type: bm25}, ngrams: {type: ngram}}\n")
    return path


def test_the_bytes_of_a_plan_are_within_a_fifth_of_a_builds(recipe, tmp_path):
    command = [
        sys.executable,
        "-m",
        "mnemodex",
        "plan",
        str(recipe),
        "--documents",
        str(ROWS),
        "--seconds",
        "30",
        "--json",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    assert ran.returncode == 0, ran.stderr
    planned = {part["name"]: part for part in json.loads(ran.stdout)["parts"]}
    mnemodex.build(recipe, memory=tmp_path / "memory", local=True)
    manifest = mnemodex.open(tmp_path / "memory").snapshot.manifest
    built = {name: entry.bytes for name, entry in {**manifest.tables, **manifest.indexes}.items()}
    assert set(built) == {"documents", "chunks", "words", "ngrams"}
    for name, size in built.items():
        assert planned[name]["bytes"]["value"] == pytest.approx(size, rel=0.2), name
    assert all(part["cpu_seconds"]["value"] > 0 for part in planned.values() if part["kind"] == "index")
