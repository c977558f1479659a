"""What a build imports: heavy libraries only where something needs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from library import write_jsonl
from passed_objects import Hashed

import mnemodex

_BUILD = """
import json, sys
sys.path[:0] = json.loads(sys.argv[2])
from passed_objects import Hashed
import mnemodex
recipe = json.loads(sys.argv[1])
result = mnemodex.build(recipe, encoders={name: Hashed() for name in recipe.get("embed", ())}, local=True)
print(json.dumps([sum(step.computed for step in result.steps), sorted(sys.modules)]))
"""


@pytest.fixture
def recipe(tmp_path):
    indexes = {
        "dense": {"type": "dense", "embed": "hashed", "factory": "Flat"},
        "words": {"type": "bm25"},
        "ngrams": {"type": "ngram"},
    }
    source, memory = str(tmp_path / "corpus.jsonl"), str(tmp_path / "memory")
    return {"source": source, "memory": memory, "embed": {"hashed": {}}, "indexes": indexes}


def test_more_documents_import_neither_pandas_nor_duckdb(recipe, tmp_path):
    rows = [{"id": f"n{number}", "title": "Notes", "text": f"note {number} on copper"} for number in range(30)]
    write_jsonl(tmp_path / "corpus.jsonl", rows[:20])
    mnemodex.build(recipe, encoders={"hashed": Hashed()}, local=True)
    write_jsonl(tmp_path / "corpus.jsonl", rows)
    computed, imported = build_in_a_process(recipe)
    assert computed
    assert not {"pandas", "duckdb"} & imported


def test_words_that_are_up_to_date_import_no_compiler(recipe, tmp_path):
    write_jsonl(tmp_path / "corpus.jsonl", [{"id": "n", "text": "a note on copper"}])
    recipe["indexes"] = {"words": {"type": "bm25"}}
    del recipe["embed"]
    assert build_in_a_process(recipe)[0]
    computed, imported = build_in_a_process(recipe)
    assert not computed
    assert not {"numba", "scipy", "faiss", "torch"} & imported


def build_in_a_process(recipe):
    """Return how many units were computed, and the modules that are imported then."""
    command = [sys.executable, "-c", _BUILD, json.dumps(recipe), json.dumps(sys.path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, env=os.environ, text=True, check=True)
    computed, imported = json.loads(done.stdout.splitlines()[-1])
    return computed, set(imported)
