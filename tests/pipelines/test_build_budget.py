"""A dense index within a memory budget, and the study of insertion orders, over vectors that were given."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from commands import assert_refused
from library import write_jsonl

import mnemodex
from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.store.store import open_store

ROWS, DIMENSION = 600, 64


def unit(rows, seed):
    centres = np.random.default_rng(9).normal(size=(12, DIMENSION))
    rng = np.random.default_rng(seed)
    matrix = centres[rng.integers(12, size=rows)] + 0.5 * rng.normal(size=(rows, DIMENSION))
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def recipe(inline, tmp_path):
    np.save(tmp_path / "v.npy", unit(ROWS, 1))
    (tmp_path / "ids.txt").write_text("".join(f"d{n}\n" for n in range(ROWS)))
    notes = write_jsonl(tmp_path / "notes.jsonl", [{"id": f"d{n}", "text": f"note {n}"} for n in range(ROWS)])
    return {
        "memory": str(tmp_path / "memory"),
        "source": {"path": str(notes)},
        "embed": {"mine": {"from": str(tmp_path / "v.npy"), "ids": str(tmp_path / "ids.txt")}},
        "indexes": {
            "exact": {"type": "dense"},
            "small": {"type": "dense", "memory_budget": "16kB", "target_recall": 0.8},
            "words": {"type": "bm25"},
        },
    }


@pytest.fixture
def memory(recipe):
    mnemodex.build(recipe)
    return Path(recipe["memory"])


def keys(memory, index, where=None):
    hits = mnemodex.open(memory).retriever(index).search_vectors(unit(40, 2), 10, where=where)
    return [[chunk.key for chunk in row] for row in hits.chunks()], hits.scores


def test_an_index_within_its_budget_answers_by_true_scores(memory, cli):
    entry = open_store(memory)[1].indexes["small"]
    (codes,) = [file.bytes for file in entry.shards[0].files if file.path.endswith("/index.faiss")]
    assert codes < 16_000 < 4 * DIMENSION * ROWS / 8
    assert entry.recall.reached and entry.search.refine is not None

    def same(where=None):
        (true, scores), (found, found_scores) = keys(memory, "exact", where), keys(memory, "small", where)
        alike = np.array(true) == np.array(found)
        assert np.allclose(scores[alike], found_scores[alike], atol=1e-6)
        return np.mean([len({*a} & {*b}) / len(a) for a, b in zip(true, found, strict=True)])

    assert same() > 0.8
    # So few rows are compared exactly.
    assert same("d.key LIKE 'd1%'") == 1
    assert mnemodex.open(memory).delete([f"d{n}" for n in range(0, ROWS, 3)]) == ROWS // 3
    assert same() > 0.8
    assert all(int(key[1:]) % 3 for row in keys(memory, "small")[0] for key in row)
    shown = cli("show", memory, "small").out
    assert "of codes" in shown and "of vectors for 10 hits" in shown and "IVF" in shown
    assert "of codes" not in cli("show", memory, "exact").out


def test_insertion_orders_are_studied_on_the_vectors_of_an_index(memory, cli, tmp_path):
    picture = tmp_path / "orders.svg"
    ran = cli("show", memory, "small", "--ordering", "--rows", 200, "--plot", picture, "--json")
    study = json.loads(ran.out)
    assert (study["rows"], study["seeds"], len(study["orders"])) == (200, 3, 10)
    assert study["queries_are"] == "rows that are in no graph" and f"a uniform sample of {ROWS}" in ran.err
    assert "30 of 30 graphs" in ran.err
    root = ElementTree.parse(picture).getroot()
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"faiss", "hnswlib", "lid_desc", "256"} <= {*texts}
    table = cli("show", memory, "small", "--ordering", "--rows", 100).out
    assert table.count("lid_asc") == 2 and "±" in table


def test_a_budget_that_no_index_fits_names_the_index(recipe):
    indexes = {"small": {"type": "dense", "memory_budget": "1kB"}}
    with pytest.raises(RecipeError, match=r"indexes.small: memory_budget of 1,000 bytes"):
        mnemodex.build({**recipe, "indexes": indexes})


def test_a_study_that_cannot_be_made_says_why(memory, cli, tmp_path):
    assert_refused(cli("show", memory, "words", "--ordering"), saying="is for those over vectors")
    assert_refused(cli("show", memory, "--ordering"), saying="name it")
    assert_refused(
        cli("show", memory, "exact", "--ordering", "--plot", tmp_path / "no" / "x.svg"), saying="does not exist"
    )
    (tmp_path / "folder.svg").mkdir()
    for name, why in (("notes.jsonl", "ends in .svg"), ("folder.svg", "is a folder")):
        assert_refused(cli("show", memory, "exact", "--ordering", "--plot", tmp_path / name), saying=why)
    assert_refused(cli("show", memory, "exact", "--plot", tmp_path / "x.svg"), saying="is the picture of --ordering")
