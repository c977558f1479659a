"""Builds when the source grows, shrinks, repeats itself or is partly broken."""

from __future__ import annotations

import resource
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builds import computed, keys, manifest
from library import records, write_jsonl, write_parts

import mnemodex
from mnemodex.pipelines.documents import repeats
from mnemodex.pipelines.ops import scatter
from mnemodex.pipelines.sources.packing import Packing
from mnemodex.schemas.errors import DuplicateKeyError, IdCollisionError, RecipeError, SourceError
from mnemodex.schemas.store.store import Store

pytestmark = pytest.mark.usefixtures("inline")


def test_files_that_are_no_documents_are_counted_at_every_build(build, tmp_path):
    write_parts(tmp_path / "notes", records()[:6], 2)
    for name in ("a.log", "b.log", "c.log", "d.png", "e.png"):
        (tmp_path / "notes" / name).write_text("x")
    for result in (build(), build()):
        assert [step.note for step in result.steps if step.note] == ["skipped 5 files: .log 3, .png 2"]


def test_values_that_are_bytes_are_counted_at_every_build(build, tmp_path):
    rows = [{**row, "image": b"\xff\xd8", "sound": None if at else b"\xfe"} for at, row in enumerate(records()[:6])]
    (tmp_path / "notes").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "notes" / "a.parquet", row_group_size=2)
    write_jsonl(tmp_path / "notes" / "b.jsonl", records()[6:9])
    source = {"path": str(tmp_path / "notes"), "format": "mixed"}
    for result in (build(source=source), build(source=source)):
        [warning] = result.warnings
        assert warning == "values that are bytes, such as images, are left out of the metadata: 'image' 6, 'sound' 1"


class TestGrowth:
    def test_a_file_more_computes_its_partition_and_equals_a_fresh_build(self, build, tmp_path):
        write_parts(tmp_path / "notes", records()[:12], 3)
        build()
        write_jsonl(tmp_path / "notes" / "part-1b.jsonl", records()[12:15])
        assert computed(build()) == {"documents": 1, "chunks": 1, "words": 1}
        build(memory="fresh")
        assert manifest(tmp_path / "memory").same_content(manifest(tmp_path / "fresh"))
        labels = [part.label for part in manifest(tmp_path / "memory").tables["documents"].partitions]
        assert labels == sorted(labels), "in the order of the files"

    def test_lines_that_are_appended_compute_only_the_last_partition(self, build, tmp_path, monkeypatch):
        monkeypatch.setattr("mnemodex.pipelines.source_plan.PACKING", Packing(rows=5))
        source = write_jsonl(tmp_path / "notes.jsonl", records()[:13])
        build(source)
        assert manifest(tmp_path / "memory").tables["documents"].rows == 13
        write_jsonl(source, records()[:17])
        assert computed(build(source)) == {"documents": 2, "chunks": 2, "words": 2}
        build(source, memory="fresh")
        assert manifest(tmp_path / "memory").same_content(manifest(tmp_path / "fresh"))
        assert [part.rows for part in manifest(tmp_path / "memory").tables["documents"].partitions] == [5, 5, 5, 2]

    def test_dense_and_hybrid_indexes_grow_too(self, build, tmp_path):
        indexes = {
            "dense": {"type": "dense"},
            "words": {"type": "bm25"},
            "both": {"type": "hybrid", "of": ["dense", "words"]},
        }
        write_parts(tmp_path / "notes", records()[:6], 2)
        build(indexes=indexes)
        write_jsonl(tmp_path / "notes" / "part-2.jsonl", records()[6:9])
        result = build(indexes=indexes)
        assert computed(result)["embeddings/minilm"] == 1
        build(memory="fresh", indexes=indexes)
        grown, fresh = manifest(tmp_path / "memory"), manifest(tmp_path / "fresh")
        assert grown.same_content(fresh)
        opened = [mnemodex.open(tmp_path / name) for name in ("memory", "fresh")]
        for name in indexes:
            one, other = (memory.retriever(name).search(["the lamp", "rye bread"], 9).ids.tolist() for memory in opened)
            assert [sorted(row) for row in one] == [sorted(row) for row in other]
            assert [row[0] for row in one] == [row[0] for row in other]

    def test_a_file_less_computes_nothing(self, build, tmp_path):
        write_parts(tmp_path / "notes", records()[:12], 3)
        build()
        (tmp_path / "notes" / "part-1.jsonl").unlink()
        assert computed(build()) == {}
        assert keys(tmp_path / "memory") == sorted(row["id"] for row in [*records()[:4], *records()[8:12]])
        build(memory="fresh")
        assert manifest(tmp_path / "memory").same_content(manifest(tmp_path / "fresh"))

    def test_a_changed_line_computes_its_partition(self, build, tmp_path):
        rows = records()[:12]
        write_parts(tmp_path / "notes", rows, 3)
        build()
        write_jsonl(tmp_path / "notes" / "part-0.jsonl", [{**rows[0], "text": "Changed."}, *rows[1:4]])
        assert computed(build()) == {"documents": 1, "chunks": 1, "words": 1}
        found = mnemodex.open(tmp_path / "memory").sql("SELECT text FROM documents WHERE key = 'harbour-1'").fetchall()
        assert found == [("Changed.",)]

    def test_a_touched_file_computes_nothing(self, build, tmp_path):
        write_parts(tmp_path / "notes", records()[:12], 3)
        build()
        write_parts(tmp_path / "notes", records()[:12], 3)
        result = build()
        assert (computed(result), result.committed) == ({}, False)

    def test_a_failed_build_leaves_the_former_snapshot_and_its_finished_work(self, build, tmp_path):
        write_parts(tmp_path / "notes", records()[:8], 2)
        build()
        write_jsonl(tmp_path / "notes" / "part-7.jsonl", [{"nothing": 1}])
        with pytest.raises(SourceError):
            build(source={"path": str(tmp_path / "notes"), "max_errors": 0})
        assert manifest(tmp_path / "memory").name == "000001"
        assert len(keys(tmp_path / "memory")) == 8


@pytest.mark.usefixtures("packed")
class TestManyFiles:
    def test_more_files_than_a_process_may_open_are_few_partitions(self, build, tmp_path):
        for number in range(300):
            write_jsonl(tmp_path / "notes" / f"{number:03}.jsonl", [{"id": f"d{number}", "text": f"note {number}"}])
        former = resource.getrlimit(resource.RLIMIT_NOFILE)
        # What tests before this one left open counts, too.
        opened = len(list(Path("/proc/self/fd").iterdir()))
        resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 100, former[1]))
        try:
            build()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, former)
        assert [part.rows for part in manifest(tmp_path / "memory").tables["documents"].partitions] == [300]
        assert len(keys(tmp_path / "memory")) == 300

    def test_a_partition_of_many_files_knows_the_file_of_every_row(self, build, tmp_path):
        write_jsonl(tmp_path / "notes" / "a.jsonl", [{"id": "a", "text": "a"}])
        (tmp_path / "notes" / "b.jsonl").write_text('\n{oops\n{"id": "b", "text": "b"}\n')
        build()
        memory = mnemodex.open(tmp_path / "memory")
        rows = "SELECT source, line FROM {} ORDER BY ALL"
        assert memory.sql(rows.format("documents")).fetchall() == [("a.jsonl", 1), ("b.jsonl", 3)]
        assert memory.sql(rows.format("errors")).fetchall() == [("b.jsonl", 2)]


class TestRepeats:
    @pytest.fixture(params=[scatter.ROWS, 2], ids=["two groups", "many groups"], autouse=True)
    def groups(self, request, monkeypatch):
        monkeypatch.setattr(scatter, "ROWS", request.param)
        monkeypatch.setattr(repeats, "_SUSPECTS", request.param)

    def test_repeats_in_several_ranges_are_dropped_from_one_partition(self, build, tmp_path):
        rows = [{"id": f"k{number}", "text": f"{number}"} for number in range(40)]
        write_jsonl(tmp_path / "notes" / "a.jsonl", rows)
        write_jsonl(tmp_path / "notes" / "b.jsonl", [{"id": "z", "text": "z"}, *rows[5:25]])
        result = build()
        assert result.warnings[0].startswith("20 rows of the source repeat a document")
        assert keys(tmp_path / "memory") == sorted([row["id"] for row in rows] + ["z"])
        assert [part.rows for part in manifest(tmp_path / "memory").tables["documents"].partitions] == [40, 1]

    def test_two_rows_of_one_id_are_refused(self, build, tmp_path, monkeypatch):
        write_jsonl(tmp_path / "notes" / "a.jsonl", [{"id": f"k{number}", "text": "x"} for number in range(9)])
        late = 7 << 60
        hashed = "mnemodex.pipelines.documents.read.hash_text"
        monkeypatch.setattr(hashed, lambda key, *rest, salt: late if key > "k6" else int(key[1]))
        with pytest.raises(IdCollisionError, match=f"two rows have the doc_id {late}: a hash collision; set `id_salt`"):
            build()

    def test_the_same_document_twice_is_kept_once_and_told(self, build, tmp_path):
        rows = records()[:6]
        write_jsonl(tmp_path / "notes" / "a.jsonl", [*rows[:3], rows[0]])
        write_jsonl(tmp_path / "notes" / "b.jsonl", [rows[1], *rows[3:]])
        result = build()
        (warning,) = result.warnings
        assert warning.startswith("2 rows of the source repeat a document, key and content")
        assert keys(tmp_path / "memory") == sorted(row["id"] for row in rows)
        places = mnemodex.open(tmp_path / "memory").sql("SELECT source, line FROM documents ORDER BY ALL").fetchall()
        assert places == [
            ("a.jsonl", 1),
            ("a.jsonl", 2),
            ("a.jsonl", 3),
            ("b.jsonl", 2),
            ("b.jsonl", 3),
            ("b.jsonl", 4),
        ]
        again = build()
        assert (computed(again), again.committed, again.warnings) == ({}, False, result.warnings)

    def test_the_same_content_under_two_keys_is_two_documents(self, build, tmp_path):
        write_jsonl(tmp_path / "notes" / "a.jsonl", records()[-2:])
        assert build().warnings == [] and keys(tmp_path / "memory") == ["twin a", "twin b"]

    @pytest.mark.parametrize(
        "change", [{"text": "Other."}, {"title": "Other"}, {"year": 3}], ids=["text", "title", "metadata"]
    )
    def test_one_key_with_two_contents_is_refused_with_both_places(self, build, tmp_path, change):
        rows = records()[:4]
        write_jsonl(tmp_path / "notes" / "a.jsonl", [*rows, {**rows[1], **change}])
        with pytest.raises(DuplicateKeyError) as caught:
            build()
        message = str(caught.value)
        assert "the key 'lighthouse-1' and different content: a.jsonl line 2 and a.jsonl line 5" in message
        assert "source.fields.key" in message
        assert Store(tmp_path / "memory").current() is None

    def test_also_across_files(self, build, tmp_path):
        rows = records()[:4]
        write_jsonl(tmp_path / "notes" / "a.jsonl", rows)
        write_jsonl(tmp_path / "notes" / "b.jsonl", [{"id": "x", "text": "y"}, {**rows[2], "text": "Other."}])
        with pytest.raises(
            DuplicateKeyError, match=r"'bakery-1' and different content: a\.jsonl line 3 and b\.jsonl line 2;"
        ):
            build()

    def test_a_clash_of_three_names_the_first_two(self, build, tmp_path):
        write_jsonl(tmp_path / "notes" / "a.jsonl", [{"id": "k", "text": text} for text in ("a", "a", "b", "c")])
        with pytest.raises(DuplicateKeyError, match=r"'k' and different content: a\.jsonl line 1 and a\.jsonl line 3;"):
            build()


def test_fields_are_mapped_in_the_recipe(build, tmp_path):
    write_jsonl(tmp_path / "notes" / "a.jsonl", [{"nr": 7, "head": "T", "body": "word", "extra": [1]}])
    source = {"path": str(tmp_path / "notes"), "fields": {"key": "nr", "title": "head", "text": "body"}}
    build(source=source)
    found = mnemodex.open(tmp_path / "memory").sql("SELECT key, title, text, metadata FROM documents").fetchall()
    assert found == [("7", "T", "word", '{"extra": [1]}')]


def test_a_field_that_is_unknown_is_refused_with_the_nearest(build, tmp_path):
    write_jsonl(tmp_path / "notes" / "a.jsonl", records()[:1])
    with pytest.raises(RecipeError, match="unknown field 'titel'; did you mean 'title'"):
        build(source={"path": str(tmp_path / "notes"), "fields": {"titel": "x"}})
