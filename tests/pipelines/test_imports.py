"""What builds and answers import: heavy libraries only where something needs them."""

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

_ANSWER = """
import json, sys
sys.path[:0] = json.loads(sys.argv[3])
from passed_objects import Hashed
import mnemodex
memory = mnemodex.open(sys.argv[1], encoders={"hashed": Hashed()})
hits = [memory.retriever(name).search(["copper", "zzz"]).chunks() for name in sys.argv[2].split()]
first = memory.retriever(sys.argv[2].split()[0])
first.search([" "]).chunks()
if first.name == "pairs":
    first.predict(["copper"])
print(json.dumps([len(hits), sorted(sys.modules)]))
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


def test_answers_import_no_pandas(recipe, tmp_path):
    write_jsonl(tmp_path / "corpus.jsonl", [{"id": "n", "text": "a note on copper"}])
    pairs = [{"question": "what is copper", "answers": ["a metal"], "passage_id": passage} for passage in ("n", None)]
    recipe["qa_pairs"] = {"from": str(write_jsonl(tmp_path / "pairs.jsonl", pairs))}
    recipe["indexes"]["pairs"] = {"type": "qa", "embed": "hashed", "factory": "Flat"}
    mnemodex.build(recipe, encoders={"hashed": Hashed()}, local=True)
    heavy = {"numba", "scipy"}
    for indexes, unneeded in (("dense", heavy), ("pairs", heavy), ("words ngrams", {"faiss"})):
        hits, imported = in_a_process(_ANSWER, recipe["memory"], indexes)
        assert hits
        assert not ({"pandas", "duckdb", "torch"} | unneeded) & imported


def build_in_a_process(recipe):
    """Return how many units were computed, and the modules that are imported then."""
    return in_a_process(_BUILD, json.dumps(recipe))


def in_a_process(code, *arguments):
    """Return the number that a program prints, and the modules that it has imported."""
    command = [sys.executable, "-c", code, *arguments, json.dumps(sys.path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, env=os.environ, text=True, check=True)
    number, imported = json.loads(done.stdout.splitlines()[-1])
    return number, set(imported)
