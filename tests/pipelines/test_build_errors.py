"""Builds of sources that are partly broken, blank or empty."""

from __future__ import annotations

import pytest
from builds import computed, keys, manifest
from library import records, write_jsonl

import mnemodex
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.store.store import Store

pytestmark = pytest.mark.usefixtures("inline")


class TestBadRows:
    BAD = (
        ('{"id": "x", "text": }', "is not JSON"),
        ('{"id": "x"}', "has no field 'text' or 'contents'"),
        ('{"text": "no key"}', "has no field 'id' or '_id' or 'key' or 'docid'"),
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

    @pytest.mark.parametrize(("limit", "fails"), [(0, True), (1, True), (2, False), ("30%", True), ("50%", False)])
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

    def test_an_empty_file_among_others_is_named(self, build, tmp_path):
        write_jsonl(tmp_path / "notes" / "a.jsonl", records()[:2])
        write_jsonl(tmp_path / "notes" / "empty.jsonl", [])
        (warning,) = build().warnings
        assert "no bytes: empty.jsonl" in warning and len(keys(tmp_path / "memory")) == 2

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
        for name, found in (("dense", 2), ("words", 1)):
            hits = mnemodex.open(tmp_path / "memory").retriever(name).search(["ships"], 3)
            assert (hits.ids[0] >= 0).sum() == found and len(hits.chunks()[0]) == found

    def test_documents_that_are_all_blank_are_refused(self, build, tmp_path):
        write_jsonl(tmp_path / "notes" / "a.jsonl", [{"id": "a", "text": " "}])
        with pytest.raises(SourceError, match=r"no document has any text; check `source\.fields\.text`"):
            build()

    def test_texts_without_a_single_word_can_be_searched(self, build, tmp_path):
        write_jsonl(tmp_path / "notes" / "a.jsonl", [{"id": "a", "text": "the of"}, {"id": "b", "text": "?!"}])
        build()
        hits = mnemodex.open(tmp_path / "memory").retriever("words").search(["lamp", ""], 3)
        assert (hits.ids == -1).all() and hits.chunks() == [[], []]

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
