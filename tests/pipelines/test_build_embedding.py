"""Builds with a model: the vectors are the cost, so they are made as seldom as can be."""

from __future__ import annotations

import re

import numpy as np
import pytest
from builds import computed, manifest
from library import STRANGE, records, write_jsonl, write_parts

import mnemodex
from mnemodex.schemas.errors import ModelError, NotFiniteError
from mnemodex.schemas.sections import DEFAULT_MODEL
from mnemodex.schemas.store.store import Store

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def recipe(tmp_path):
    source = write_parts(tmp_path / "few", [*records()[:4], *STRANGE[-2:]], 2)
    return {
        "source": {"path": str(source)},
        "memory": str(tmp_path / "memory"),
        "embed": {"minilm": {"model": DEFAULT_MODEL}},
        "indexes": {"dense": {"type": "dense"}},
    }


def test_only_what_decides_the_vectors_embeds_again(recipe, tmp_path):
    first = mnemodex.build(recipe)
    assert computed(first) == {"documents": 2, "chunks": 2, "embeddings/minilm": 2, "dense": 1, "dense: recall": 1}
    asked = mnemodex.build({**recipe, "embed": {"minilm": {"query_prefix": "query: "}}})
    assert computed(asked) == {} and asked.committed
    spec = manifest(tmp_path / "memory").encoders["minilm"].settings
    assert spec["query_prefix"] == "query: "
    titled = mnemodex.build({**recipe, "embed": {"minilm": {"with_title": False}}})
    assert computed(titled) == {"embeddings/minilm": 2, "dense": 1, "dense: recall": 1}


def test_vectors_are_in_both_files_and_in_the_order_of_the_chunks(recipe, tmp_path):
    mnemodex.build(recipe)
    memory = mnemodex.open(tmp_path / "memory")
    snapshot = memory.snapshot
    table = memory.sql("SELECT * FROM embeddings_minilm").to_arrow_table()
    parts = [np.load(path) for path in snapshot.paths("embeddings/minilm", ".npy")]
    vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, 384)
    assert np.array_equal(vectors, np.concatenate(parts))
    assert table["chunk_id"].to_pylist() == [row[0] for row in memory.sql("SELECT chunk_id FROM chunks").fetchall()]
    model = snapshot.manifest.encoders["minilm"]
    assert (model.dimension, model.max_length) == (384, 256) and len(model.sha256) == 64


def test_a_chunk_that_the_model_cuts_is_warned_of(recipe, tmp_path):
    write_jsonl(tmp_path / "few" / "long.jsonl", [{"id": "long", "title": "", "text": "ship " * 400}])
    warnings = mnemodex.build(recipe).warnings
    assert any("1 of 7 chunks have more than the 256 tokens that pkg:gt_all" in warning for warning in warnings)
    assert mnemodex.build(recipe).warnings == warnings
    # Also where the vectors of a partition are taken over, all or some of them.
    (tmp_path / "few" / "long.jsonl").unlink()
    rows = [{"id": key, "title": "", "text": text} for key, text in (("long", "ship " * 400), ("more", "salt"))]
    for count in (1, 2):
        write_jsonl(tmp_path / "few" / "moved.jsonl", rows[:count])
        result = mnemodex.build(recipe)
        assert "embeddings/minilm" in computed(result)
        assert any(f"1 of {6 + count} chunks have more than the 256 tokens" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("ភាសាខ្មែរ " * 20, "[89][0-9]%"),
        ("𐎀𐎁𐎂 " * 60 + "cuneiform", "[67][0-9]%"),
        ("a small ship 🚢 " * 9, None),
        ("a ship", None),
    ],
)
def test_characters_that_the_model_does_not_know_are_warned_of(recipe, tmp_path, text, share):
    rows = [{"id": f"d{number}", "title": "", "text": f"{text} {number}"} for number in range(3)]
    recipe["source"]["path"] = str(write_jsonl(tmp_path / "unknown.jsonl", rows))
    warnings = mnemodex.build(recipe).warnings
    if share is None:
        assert not warnings
    else:
        assert len(warnings) == 1
        assert re.match(rf"{share} of the characters of the chunks are unknown to pkg:gt_all", warnings[0])
    assert mnemodex.build(recipe).warnings == warnings


def test_vectors_that_are_no_numbers_fail_the_build_and_commit_nothing(recipe, tmp_path, monkeypatch):
    from mnemodex.indexers.encoders.base import Encoded
    from mnemodex.indexers.encoders.local import Encoder

    def stream(self, windows):
        for number, window in enumerate(windows):
            vectors = np.zeros((len(window.texts), 384), np.float32)
            vectors[-1, 7] = np.nan
            yield Encoded(number, np.arange(len(vectors)), vectors)

    # Nor are they kept for the next try.
    monkeypatch.setattr("mnemodex.pipelines.ops.checkpoint.SECONDS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "stream", stream)
        with pytest.raises(NotFiniteError, match=r"embedding 'minilm': model .* gives NaN or infinity for chunk \d+"):
            mnemodex.build(recipe)
    assert Store(tmp_path / "memory").current() is None
    assert computed(mnemodex.build(recipe)) == {"embeddings/minilm": 2, "dense": 1, "dense: recall": 1}


def test_a_model_that_is_not_there_fails_before_any_work(recipe, tmp_path, inline):
    with pytest.raises(ModelError, match="no package 'nowhere' is installed"):
        mnemodex.build({**recipe, "embed": {"minilm": {"model": "pkg:nowhere/model"}}})
    assert inline.computed == 0


def test_another_model_under_the_same_name_embeds_again(recipe, monkeypatch):
    from mnemodex.indexers.models import hashes

    mnemodex.build(recipe)
    digest = hashes.model_hash

    def other(name):
        return "0" * 64

    monkeypatch.setattr(hashes, "model_hash", lambda name: other(name) if name == "pkg:x" else digest(name))
    assert computed(mnemodex.build(recipe)) == {}
    monkeypatch.setattr(hashes, "model_hash", other)
    assert "embeddings/minilm" in computed(mnemodex.build(recipe))
