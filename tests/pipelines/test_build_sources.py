"""Builds when the source grows, shrinks, repeats itself or is partly broken."""

from __future__ import annotations

import pytest
from library import records, words_recipe, write_jsonl, write_parts

import mnemodex
from mnemodex.schemas.errors import DuplicateKeyError, RecipeError, SourceError
from mnemodex.schemas.store.store import Store, open_store

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def build(tmp_path):
    """Builds the folder `notes` (or what is given) into `memory`."""

    def run(path=None, *, memory="memory", **sections):
        return mnemodex.build(words_recipe(path or tmp_path / "notes", tmp_path / memory, **sections))

    return run


def computed(result):
    return {stage.name: stage.computed for stage in result.stages if stage.computed}


def manifest(memory):
    return open_store(memory)[1]


def keys(memory):
    return [key for (key,) in mnemodex.open(memory).sql("SELECT key FROM documents ORDER BY key").fetchall()]


class TestGrowth:
    def test_a_file_more_computes_its_partition_and_equals_a_fresh_build(self, build, tmp_path):
        write_parts(tmp_path / "notes", records()[:12], 3)
        build()
        write_jsonl(tmp_path / "notes" / "part-1b.jsonl", records()[12:15])
        assert computed(build()) == {"documents": 1, "chunks": 1, "words": 1, "words: merge": 1}
        build(memory="fresh")
        assert manifest(tmp_path / "memory").same_content(manifest(tmp_path / "fresh"))
        labels = [part.label for part in manifest(tmp_path / "memory").tables["documents"].partitions]
        assert labels == sorted(labels), "in the order of the files"

    def test_lines_that_are_appended_compute_only_the_last_partition(self, build, tmp_path, monkeypatch):
        from mnemodex.pipelines import tables

        monkeypatch.setattr(tables, "_PARTITION_ROWS", 5)
        source = write_jsonl(tmp_path / "notes.jsonl", records()[:13])
        build(source)
        assert manifest(tmp_path / "memory").tables["documents"].rows == 13
        write_jsonl(source, records()[:17])
        assert computed(build(source)) == {"documents": 2, "chunks": 2, "words": 2, "words: merge": 1}
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

    def test_a_file_less_computes_only_what_puts_the_rest_together(self, build, tmp_path):
        write_parts(tmp_path / "notes", records()[:12], 3)
        build()
        (tmp_path / "notes" / "part-1.jsonl").unlink()
        assert computed(build()) == {"words: merge": 1}
        assert keys(tmp_path / "memory") == sorted(row["id"] for row in [*records()[:4], *records()[8:12]])
        build(memory="fresh")
        assert manifest(tmp_path / "memory").same_content(manifest(tmp_path / "fresh"))

    def test_a_changed_line_computes_its_partition(self, build, tmp_path):
        rows = records()[:12]
        write_parts(tmp_path / "notes", rows, 3)
        build()
        write_jsonl(tmp_path / "notes" / "part-0.jsonl", [{**rows[0], "text": "Changed."}, *rows[1:4]])
        assert computed(build()) == {"documents": 1, "chunks": 1, "words": 1, "words: merge": 1}
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


class TestRepeats:
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


class TestBadRows:
    BAD = (
        ('{"id": "x", "text": }', "is not JSON"),
        ('{"id": "x"}', "none of the fields text, contents"),
        ('{"text": "no key"}', "none of the fields id, _id, key, docid"),
        ('{"id": "x", "text": 5}', "the field 'text' is int, not a string"),
        ("[1]", "is not a JSON object"),
        (b'{"id": "x", "text": "\xff"}', "is not UTF-8"),
    )

    def write(self, folder, *bad):
        lines = [f'{{"id": "k{n}", "text": "note {n}"}}'.encode() for n in range(4)]
        lines[2:2] = [line.encode() if isinstance(line, str) else line for line in bad]
        folder.mkdir(exist_ok=True)
        (folder / "a.jsonl").write_bytes(b"\n".join(lines) + b"\n")

    @pytest.mark.parametrize(("line", "reason"), BAD, ids=[reason.split()[-1].strip(",") for _, reason in BAD])
    def test_a_bad_row_goes_to_the_errors_with_its_place_and_reason(self, build, tmp_path, line, reason):
        self.write(tmp_path / "notes", line)
        (warning,) = build().warnings
        assert warning.startswith("1 row left out: a.jsonl line 3: ") and reason in warning
        assert warning.endswith("; the table errors has them all")
        (row,) = mnemodex.open(tmp_path / "memory").sql("SELECT * FROM errors").to_arrow_table().to_pylist()
        assert (row["stage"], row["source"], row["line"]) == ("documents", "a.jsonl", 3)
        assert reason in row["reason"] and row["content"]
        assert keys(tmp_path / "memory") == ["k0", "k1", "k2", "k3"]

    def test_the_warning_counts_them_and_is_given_again(self, build, tmp_path):
        self.write(tmp_path / "notes", *(line for line, _ in self.BAD))
        first = build().warnings
        assert first[0].startswith("6 rows left out: a.jsonl line 3: is not JSON")
        again = build()
        assert (again.warnings, again.committed) == (first, False)
        assert mnemodex.open(tmp_path / "memory").sql("SELECT count(*) FROM errors").fetchall() == [(6,)]

    @pytest.mark.parametrize(("limit", "fails"), [(0, True), (1, True), (2, False)])
    def test_more_than_the_limit_fails_the_build(self, build, tmp_path, limit, fails):
        self.write(tmp_path / "notes", "broken", "{}")
        source = {"path": str(tmp_path / "notes"), "max_errors": limit}
        if not fails:
            assert len(build(source=source).warnings) == 1
            return
        with pytest.raises(SourceError) as caught:
            build(source=source)
        message = str(caught.value)
        assert f"2 rows cannot be read, more than `source.max_errors: {limit}`: a.jsonl line 3: is not JSON" in message
        assert Store(tmp_path / "memory").current() is None

    def test_a_higher_limit_goes_on_from_there(self, build, tmp_path):
        self.write(tmp_path / "notes", "broken")
        with pytest.raises(SourceError):
            build(source={"path": str(tmp_path / "notes"), "max_errors": 0})
        result = build(source={"path": str(tmp_path / "notes"), "max_errors": 1})
        assert "documents" not in computed(result)

    def test_rows_that_are_mended_leave_the_errors(self, build, tmp_path):
        self.write(tmp_path / "notes", "broken")
        build()
        self.write(tmp_path / "notes", '{"id": "mended", "text": "well"}')
        assert build().warnings == []
        assert "errors" not in manifest(tmp_path / "memory").tables


class TestNothing:
    @pytest.mark.parametrize("content", [b"", b"\n\n  \n"], ids=["no-bytes", "blank-lines"])
    def test_a_source_without_documents_is_refused(self, build, tmp_path, content):
        (tmp_path / "notes.jsonl").write_bytes(content)
        with pytest.raises(SourceError, match=r"notes\.jsonl: no documents"):
            build(tmp_path / "notes.jsonl")

    def test_a_source_of_bad_rows_says_why(self, build, tmp_path):
        (tmp_path / "notes.jsonl").write_text("x\ny\n")
        with pytest.raises(SourceError, match=r"no documents: notes\.jsonl line 1: is not JSON"):
            build(tmp_path / "notes.jsonl")

    def test_an_empty_folder_is_refused(self, build, tmp_path):
        (tmp_path / "notes").mkdir()
        with pytest.raises(SourceError, match="the folder has no file of a known format"):
            build()

    def test_a_source_that_is_not_there_is_refused(self, build, tmp_path):
        with pytest.raises(SourceError, match="nowhere: no such file or folder"):
            build(tmp_path / "nowhere")

    def test_an_empty_file_among_others_is_no_harm(self, build, tmp_path):
        write_jsonl(tmp_path / "notes" / "a.jsonl", records()[:2])
        write_jsonl(tmp_path / "notes" / "empty.jsonl", [])
        assert build().warnings == [] and len(keys(tmp_path / "memory")) == 2

    def test_blank_documents_have_no_chunk(self, build, tmp_path):
        rows = [
            {"id": "a", "title": " ", "text": "\n"},
            {"id": "b", "title": "", "text": ""},
            {"id": "c", "title": "T", "text": ""},
        ]
        write_jsonl(tmp_path / "notes" / "a.jsonl", [*rows, {"id": "d", "title": "", "text": "word"}])
        build()
        chunks = (
            mnemodex.open(tmp_path / "memory").sql("SELECT key FROM chunks JOIN documents USING (doc_id)").fetchall()
        )
        assert sorted(chunks) == [("c",), ("d",)] and len(keys(tmp_path / "memory")) == 4

    def test_a_partition_of_blank_documents_is_no_harm(self, build, tmp_path):
        indexes = {"dense": {"type": "dense"}, "words": {"type": "bm25"}}
        write_jsonl(tmp_path / "notes" / "a.jsonl", [{"id": "a", "title": "", "text": " "}])
        write_jsonl(tmp_path / "notes" / "b.jsonl", records()[:2])
        build(indexes=indexes)
        assert [part.rows for part in manifest(tmp_path / "memory").tables["chunks"].partitions] == [0, 2]
        for name in indexes:
            hits = mnemodex.open(tmp_path / "memory").retriever(name).search(["ships"], 3)
            assert (hits.ids[0] >= 0).sum() == 2 and len(hits.chunks()[0]) == 2

    def test_documents_that_are_all_blank_are_refused(self, build, tmp_path):
        write_jsonl(tmp_path / "notes" / "a.jsonl", [{"id": "a", "text": " "}])
        with pytest.raises(SourceError, match=r"no document has any text; check `source\.fields\.text`"):
            build()

    def test_texts_without_a_single_word_can_be_searched(self, build, tmp_path):
        write_jsonl(tmp_path / "notes" / "a.jsonl", [{"id": "a", "text": "the of"}, {"id": "b", "text": "?!"}])
        build()
        hits = mnemodex.open(tmp_path / "memory").retriever("words").search(["lamp", ""], 3)
        assert hits.scores[:, :2].tolist() == [[0, 0], [0, 0]] and (hits.ids[:, 2] == -1).all()

    def test_one_document_is_enough_for_every_index(self, build, tmp_path):
        indexes = {
            "dense": {"type": "dense"},
            "graph": {"type": "dense", "factory": "HNSW8"},
            "small": {"type": "dense", "engine": "hnswlib"},
            "words": {"type": "bm25"},
            "both": {"type": "hybrid", "of": ["dense", "words"]},
        }
        write_jsonl(tmp_path / "notes" / "a.jsonl", [{"id": "a", "text": "one note"}])
        build(indexes=indexes)
        memory = mnemodex.open(tmp_path / "memory")
        for name in indexes:
            assert [[chunk.key for chunk in row] for row in memory.retriever(name).search(["note"], 5).chunks()] == [
                ["a"]
            ]


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
