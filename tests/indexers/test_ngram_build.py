from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from mnemodex.indexers.ngram import BuildOptions, FMIndex, Ragged, build
from mnemodex.schemas.errors import CorruptFileError, ModelError, NewerFormatError, RecipeError, SourceError

ARRAYS = ["bits", "borders", "documents", "leaf_of", "leaves", "levels", "marks", "samples", "vocabulary"]


def documents_of(count, seed=0):
    random = np.random.default_rng(seed)
    return [random.integers(0, 50, size=length) for length in random.integers(0, 20, size=count)]


def open_field(folder, facts, field):
    return FMIndex([folder / f"{number:05d}" / field for number in range(len(facts))])


@pytest.fixture
def shard(tmp_path):
    build([{"body": Ragged.of(documents_of(30))}], tmp_path, range(50))
    return tmp_path / "00000" / "body"


def test_a_shard_is_checked_once_and_again_when_a_file_has_changed(shard, monkeypatch):
    FMIndex([shard])
    monkeypatch.setattr("mnemodex.indexers.ngram.soundness.find_fault", lambda *_: "it is damaged")
    FMIndex([shard])
    np.save(shard / "marks.npy", np.load(shard / "marks.npy"))
    with pytest.raises(CorruptFileError, match="it is damaged; build the shard again"):
        FMIndex([shard])


def test_a_shard_that_would_exceed_its_limit_is_split_between_documents(tmp_path):
    documents = documents_of(100)
    batches = [{"body": Ragged.of(documents[start : start + 7])} for start in range(0, 100, 7)]
    facts = build(batches, tmp_path / "split", range(50), options=BuildOptions(shard_rows=100))
    assert len(facts) > 5
    assert all(fact["body"]["rows"] <= 100 for fact in facts)
    assert sum(fact["body"]["documents"] for fact in facts) == 100
    split = open_field(tmp_path / "split", facts, "body")
    whole = open_field(tmp_path / "whole", build(batches, tmp_path / "whole", range(50)), "body")
    assert len(whole.shards) == 1
    for column, same in zip(split.locate(np.arange(50)[:, None]), whole.locate(np.arange(50)[:, None]), strict=True):
        np.testing.assert_array_equal(column, same)


def test_a_full_shard_holds_as_much_as_it_may(tmp_path):
    facts = build([{"body": Ragged.of([[1, 2]] * 5)}], tmp_path, range(3), options=BuildOptions(shard_rows=6))
    assert [fact["body"]["documents"] for fact in facts] == [2, 2, 1]


def test_titles_are_a_field_of_their_own_with_the_same_documents(tmp_path):
    batches = [
        {"body": Ragged.of([[1, 2, 3], [4]]), "title": Ragged.of([[9], [1]])},
        {"body": Ragged.of([[1]]), "title": Ragged.of([[]])},
    ]
    facts = build(batches, tmp_path, range(10), options=BuildOptions(shard_rows=6))
    body, title = (open_field(tmp_path, facts, field) for field in ("body", "title"))
    assert body.count([[1], [9]]).tolist() == [2, 0]
    assert title.count([[1], [9]]).tolist() == [1, 1]
    assert title.documents([[1]]).documents.tolist() == [1]
    assert body.first_documents.tolist() == title.first_documents.tolist() == [0, 2, 3]


def test_the_same_documents_give_the_same_bytes(tmp_path):
    for name in ("one", "other"):
        build([{"body": Ragged.of(documents_of(40))}], tmp_path / name, range(50))
    one, other = sorted((tmp_path / "one").rglob("*.*")), sorted((tmp_path / "other").rglob("*.*"))
    assert [path.name for path in one] == sorted([f"{name}.npy" for name in ARRAYS] + ["shard.json"])
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_without_a_document_array_a_shard_is_smaller(tmp_path):
    facts = build(
        [{"body": Ragged.of(documents_of(30))}], tmp_path, range(50), options=BuildOptions(document_array=False)
    )
    assert facts[0]["body"]["document_bits"] == 0
    assert not (tmp_path / "00000" / "body" / "documents.npy").exists()


def test_the_stream_without_a_document_makes_no_shard(tmp_path):
    assert build([], tmp_path, range(5)) == []
    assert build([{"body": Ragged.of([])}], tmp_path, range(5)) == []


def test_a_document_larger_than_a_shard_is_refused(tmp_path):
    with pytest.raises(SourceError, match="a document of 9 tokens"):
        build([{"body": Ragged.of([[1], [2] * 9])}], tmp_path, range(5), options=BuildOptions(shard_rows=9))


def test_fields_must_have_the_same_documents(tmp_path):
    with pytest.raises(SourceError, match="fields"):
        build([{"body": Ragged.of([[1]]), "title": Ragged.of([[1], [2]])}], tmp_path, range(5))


def test_batches_must_have_the_same_fields(tmp_path):
    one, other = {"body": Ragged.of([[1]])}, {"body": Ragged.of([[1]]), "title": Ragged.of([[1]])}
    with pytest.raises(SourceError, match="title"):
        build([one, other], tmp_path, range(5))


def test_a_token_outside_the_vocabulary_is_refused(tmp_path):
    with pytest.raises(ModelError, match="row 1 has the token id 7 at 0"):
        build([{"body": Ragged.of([[1], [7]])}], tmp_path, range(5))


@pytest.mark.parametrize("options", [{"sample_rate": 0}, {"shard_rows": 0}, {"shard_rows": 2**31}])
def test_senseless_options_are_refused(options):
    with pytest.raises(RecipeError, match=next(iter(options))):
        BuildOptions(**options)


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("left", [0, 100, -1])
def test_a_file_cut_short_is_named(shard, name, left):
    path = shard / f"{name}.npy"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(CorruptFileError, match=rf"{name}\.npy: \d+ bytes instead of"):
        FMIndex([shard])


@pytest.mark.parametrize("name", [*(f"{name}.npy" for name in ARRAYS), "shard.json"])
def test_a_missing_file_is_named(shard, name):
    (shard / name).unlink()
    with pytest.raises(CorruptFileError, match=name):
        FMIndex([shard])


def test_an_array_of_another_type_is_refused(shard):
    array = np.load(shard / "leaf_of.npy")
    np.save(shard / "leaf_of.npy", array.view(np.float32))
    with pytest.raises(CorruptFileError, match=r"leaf_of\.npy"):
        FMIndex([shard])


def test_a_description_cut_short_is_named(shard):
    path = shard / "shard.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(CorruptFileError, match=r"shard\.json"):
        FMIndex([shard])


def test_a_description_that_lacks_a_fact_is_named(shard):
    path = shard / "shard.json"
    description = json.loads(path.read_text())
    del description["rows"]
    path.write_text(json.dumps(description))
    with pytest.raises(CorruptFileError, match=r"shard\.json.*rows"):
        FMIndex([shard])


def test_a_newer_format_is_refused(shard):
    path = shard / "shard.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(NewerFormatError, match="format 99"):
        FMIndex([shard])


def test_shards_of_different_vocabularies_do_not_go_together(shard, tmp_path):
    build([{"body": Ragged.of([[1]])}], tmp_path / "other", range(3))
    with pytest.raises(CorruptFileError, match="vocabulary"):
        FMIndex([shard, tmp_path / "other" / "00000" / "body"])


def test_importing_the_package_does_not_import_numba():
    code = "import sys, mnemodex.indexers.ngram; sys.exit('numba' in sys.modules or 'pydivsufsort' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
