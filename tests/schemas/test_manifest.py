from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from stores import manifest, read_back

from mnemodex.schemas.manifest import (
    Artifact,
    EncoderEntry,
    FileEntry,
    IndexEntry,
    Recall,
    SearchParameters,
    Stats,
    TableEntry,
    fingerprint,
)
from mnemodex.schemas.store.store import close_marker, open_marker

names = st.text(st.sampled_from("abé-._0"), min_size=1, max_size=6).filter(lambda name: name.strip("."))
values = st.dictionaries(
    st.text(max_size=3).map("x_{}".format),
    st.one_of(
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
        st.none(),
        st.lists(st.integers()),
        st.booleans(),
    ),
    max_size=3,
)


@st.composite
def artifacts(draw, folder="tables/notes"):
    label, ending = draw(names), draw(st.sampled_from([".parquet", "/index.faiss"]))
    entry = FileEntry(
        path=f"{folder}/{label}-f{ending}", bytes=draw(st.integers(0, 2**40)), sha256=draw(st.text("0123", min_size=4))
    )
    return Artifact(
        label=label, fingerprint="f", rows=draw(st.integers(0, 99)), files=(entry,), stats=Stats(**draw(values))
    )


@settings(max_examples=30)
@given(st.lists(artifacts(), max_size=3), artifacts("indexes/words"), values)
def test_a_manifest_reads_back_as_it_was_written(parts, shard, options):
    tables = {"notes": TableEntry(name="notes", partitions=tuple(parts))}
    index = IndexEntry(name="words", type="bm25", settings=options, fingerprint="f", rows=shard.rows, shards=(shard,))
    whole = manifest([]).model_copy(update={"tables": tables, "indexes": {"words": index}, "recipe": options})
    again = read_back(whole)
    assert again == whole
    assert again.to_bytes() == whole.to_bytes()
    assert again.same_content(whole)
    assert again.same_files(whole)
    assert list(again.artifacts()) == [*parts, shard]


def test_a_path_that_is_not_unicode_survives():
    whole = manifest([]).model_copy(update={"recipe": {"source": {"path": "/data/caf\udce9"}}})
    assert read_back(whole) == whole


@given(artifacts())
def test_a_marker_reads_back_and_not_with_any_other_digit(artifact):
    data = close_marker(artifact)
    assert open_marker(json.loads(data)) == artifact
    assert close_marker(open_marker(json.loads(data))) == data
    changed = json.loads(data)
    changed["artifact"]["rows"] += 1
    assert open_marker(changed) is None


@pytest.mark.parametrize(
    "data", [None, [], {}, {"artifact": {}}, {"artifact": {}, "sha256": "0"}, {"artifact": 1, "sha256": 1}]
)
def test_what_is_no_marker_is_none(data):
    assert open_marker(data) is None


def part(label="a", digest="0", rows=1, seconds=1.0):
    entry = FileEntry(path=f"tables/notes/{label}-f.parquet", bytes=1, sha256=digest)
    return Artifact(label=label, fingerprint="f", rows=rows, files=(entry,), stats=Stats(seconds=seconds))


def test_same_content_compares_fingerprints_and_same_files_bytes():
    whole = manifest([part()])
    assert whole.same_content(manifest([part(digest="1")]))
    assert not whole.same_files(manifest([part(digest="1")]))
    for other in (manifest([part("b")]), manifest([]), manifest([part()], recipe_hash="other")):
        assert not whole.same_content(other)
        assert not whole.same_files(other)


def test_files_that_searches_read_but_no_table_holds_are_compared_too():
    whole = manifest([part()])
    other = whole.model_copy(update={"caches": {"tables/codes": whole.tables["notes"]}})
    assert whole.same_content(other) and not whole.same_files(other)


def test_when_and_after_what_a_snapshot_was_made_is_not_its_content():
    whole = manifest([part()])
    later = whole.model_copy(update={"name": "000009", "parent": "000008", "created": "2030-01-01T00:00:00"})
    assert whole.same_content(later)
    assert whole.same_files(later)


@pytest.mark.parametrize("path", ["", "..", "../x", "a/../../x", "/x", "a\\x", "a\0x", "a/.."])
def test_a_path_out_of_the_folder_is_refused(path):
    with pytest.raises(ValidationError, match="leaves the memory's folder"):
        FileEntry(path=path, bytes=0, sha256="")


def test_the_place_of_a_result_says_where_its_files_and_its_marker_are():
    assert part().place == "tables/notes/a-f"
    assert part().marker == "tables/notes/a-f.json"
    shard = Artifact(
        label="a",
        fingerprint="f",
        rows=0,
        files=(FileEntry(path="indexes/words/a-f/deep/x.npy", bytes=0, sha256=""),),
    )
    assert shard.place == "indexes/words/a-f"
    assert shard.marker == "indexes/words/a-f/marker.json"
    folder = shard.model_copy(update={"files": (FileEntry(path="tables/lines/a-f/x.jsonl", bytes=0, sha256=""),)})
    assert (folder.place, folder.marker) == ("tables/lines/a-f", "tables/lines/a-f/marker.json")


def test_a_fingerprint_is_the_same_in_every_run_and_for_every_order_of_keys():
    assert fingerprint("stage", 1, {"b": [1, None], "a": "é"}) == "15706813eb45ec2562a5"
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint("a", "b") != fingerprint("ab")
    assert fingerprint(1) != fingerprint("1")


class EncodeStats(Stats):
    """The stats of an op that counts tokens."""

    tokens: int = 0


def test_stats_keep_the_fields_of_their_op_through_the_manifest():
    entry = FileEntry(path="tables/notes/a-f.parquet", bytes=1, sha256="0")
    artifact = Artifact(label="a", fingerprint="f", rows=1, files=(entry,), stats=EncodeStats(tokens=7, reused=2))
    again = read_back(manifest([artifact])).tables["notes"].partitions[0].stats
    assert again.of(EncodeStats) == EncodeStats(tokens=7, reused=2)
    assert again.reused == 2


def test_the_file_of_a_partition_is_found_by_its_label():
    names = ("a.b-1.jsonl", "a.b.jsonl", "lines.txt")
    files = tuple(FileEntry(path=f"tables/lines/all-f/{name}", bytes=0, sha256=name) for name in names)
    artifact = Artifact(label="all", fingerprint="f", rows=1, files=files)
    assert artifact.part("a.b") == files[1]
    assert artifact.part("a.b-1") == files[0]
    assert artifact.part("lines") is None and artifact.part("a") is None


def test_an_index_says_what_it_is_searched_with_and_what_it_finds():
    recall = Recall(
        recall=0.97, k=10, probes=5, source="queries", parameter="efSearch", value=32, margin=1, target=0.95,
        reached=True, curve={16: 0.9, 32: 0.97},
    )  # fmt: skip
    search = SearchParameters(parameter="efSearch", value=32)
    index = IndexEntry(name="i", type="dense", settings={}, fingerprint="f", search=search, recall=recall)
    former = json.loads(index.model_dump_json())
    assert IndexEntry.model_validate(former) == index
    # Manifests of former versions have no interval.
    del former["recall"]["low"], former["recall"]["high"]
    assert IndexEntry.model_validate(former) == index and index.recall.interval == ""


@pytest.mark.parametrize("change", [{"rows": "many"}, {"files": []}, {"nonsense": 1}, {"stats": {"seconds": "x"}}])
def test_an_artifact_of_another_form_is_refused(change):
    data = {"label": "a", "fingerprint": "f", "rows": 1, "files": [{"path": "a-f", "bytes": 1, "sha256": "0"}]}
    Artifact.model_validate(data)
    with pytest.raises(ValidationError):
        Artifact.model_validate({**data, **change})


def test_an_encoder_of_a_former_build_does_not_say_whose_its_settings_are():
    entry = EncoderEntry.model_validate({"settings": {"model": "m"}, "sha256": "a", "dimension": 3})
    assert entry.own is None
