"""Exports: a snapshot as a DuckDB database, as datasets of Hugging Face, and as HippoRAG's files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import duckdb
import pyarrow as pa
import pytest
from small_memory import build_inline, write_corpus, write_triples

import mnemodex
from mnemodex.pipelines.exports import database
from mnemodex.pipelines.exports.target import replacing
from mnemodex.schemas.errors import ExportError


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A memory with triples and vectors in two partitions, and a snapshot after it in which a document is deleted."""
    folder = tmp_path_factory.mktemp("export")
    for name, rows in (("a", range(6)), ("b", range(6, 12))):
        write_corpus(folder / "source", f"{name}.jsonl", rows)
    write_triples(folder / "triples.jsonl")
    indexes = {"dense": {"type": "dense", "factory": "Flat"}, "words": {"type": "bm25"}}
    build_inline(folder / "source", folder / "memory", indexes)
    mnemodex.open(folder / "memory").delete(["d3"])
    triples = {"from": str(folder / "triples.jsonl")}
    build_inline(folder / "source", folder / "graph", {}, triples=triples)
    return folder


def stream(path):
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_stream(file).read_all()


class TestDatabase:
    def test_tables_and_catalogue_are_those_of_sql(self, built, tmp_path, cli):
        ran = cli("export", built / "memory", tmp_path / "out.duckdb", "--json")
        assert ran.code == 0, ran.err
        rows = json.loads(ran.out)["written"][0]["rows"]
        memory = mnemodex.open(built / "memory")
        with duckdb.connect(str(tmp_path / "out.duckdb"), read_only=True) as connection:
            assert {name for (name,) in connection.execute("SHOW TABLES").fetchall()} == rows.keys()
            for view in rows:
                query = f"SELECT * FROM {view} ORDER BY ALL"
                found = connection.sql(query).to_arrow_table().to_pylist()
                assert found == memory.sql(query).to_arrow_table().to_pylist() and len(found) == rows[view], view
            nearest = (
                "SELECT chunk_id FROM embeddings_minilm ORDER BY array_distance(vector, "
                "(SELECT vector FROM embeddings_minilm LIMIT 1)) LIMIT 3"
            )
            assert len(connection.execute(nearest).fetchall()) == 3
        assert rows["documents"] == 11 and rows["indexes"] == 2
        assert [path.name for path in tmp_path.iterdir()] == ["out.duckdb"]

    def test_an_older_snapshot_still_has_what_was_deleted_since(self, built, tmp_path, cli):
        assert cli("export", built / "memory", tmp_path / "out.duckdb", "--snapshot", "1").code == 0
        with duckdb.connect(str(tmp_path / "out.duckdb"), read_only=True) as connection:
            assert connection.execute("SELECT count(*) FROM chunks").fetchall() == [(12,)]


class TestDatasets:
    def test_every_table_is_a_dataset_of_streams_with_its_features(self, built, tmp_path, cli):
        assert cli("export", built / "memory", "--hf", tmp_path / "hf").code == 0
        tables = json.loads((tmp_path / "hf" / "dataset_dict.json").read_text())["splits"]
        memory = mnemodex.open(built / "memory")
        assert set(tables) == {"documents", "chunks", "embeddings_minilm"}
        for table in tables:
            state = json.loads((tmp_path / "hf" / table / "state.json").read_text())
            files = [tmp_path / "hf" / table / file["filename"] for file in state["_data_files"]]
            found = pa.concat_tables(map(stream, files))
            expected = memory.sql(f"SELECT * FROM {table}").to_arrow_table()
            key = "doc_id" if table == "documents" else "chunk_id"
            assert found.sort_by(key).to_pylist() == expected.sort_by(key).to_pylist()
            features = json.loads((tmp_path / "hf" / table / "dataset_info.json").read_text())["features"]
            assert list(features) == found.schema.names
        vectors = json.loads((tmp_path / "hf" / "embeddings_minilm" / "dataset_info.json").read_text())["features"]
        assert vectors["vector"] == {
            "feature": {"dtype": "float32", "_type": "Value"},
            "length": 384,
            "_type": "Sequence",
        }
        assert len(list((tmp_path / "hf" / "chunks").glob("*.arrow"))) == 2


class TestHippoRag:
    def test_a_memory_of_the_corpus_and_its_triples_is_the_same(self, built, tmp_path, cli):
        ran = cli("export", built / "graph", "--hipporag", tmp_path / "corpus.json", "--json")
        assert json.loads(ran.out)["written"][0]["rows"] == {"passages": 12, "triples": 12}
        corpus = json.loads((tmp_path / "corpus.json").read_text())
        assert [row["idx"] for row in corpus] == list(range(12)) and corpus[0].keys() == {"title", "text", "idx"}
        docs = json.loads((tmp_path / "corpus.openie.json").read_text())["docs"]
        assert docs[0]["passage"] == f"{corpus[0]['title']}\n{corpus[0]['text']}"
        assert docs[0]["idx"].startswith("chunk-") and len(docs[0]["idx"]) == len("chunk-") + 32
        assert docs[0]["extracted_entities"] == ["Town 0", "the river"]
        triples = {"from": str(tmp_path / "corpus.openie.json")}
        (tmp_path / "source").mkdir()
        shutil.copy(tmp_path / "corpus.json", tmp_path / "source" / "corpus.json")
        source = tmp_path / "source" / "corpus.json"
        build_inline(source, tmp_path / "memory", {}, triples=triples)
        tables = "triples JOIN chunks c USING (chunk_id)"
        facts = f"SELECT c.title, c.text, subject, predicate, object FROM {tables} ORDER BY ALL"
        again = mnemodex.open(tmp_path / "memory").sql(facts).fetchall()
        assert again == mnemodex.open(built / "graph").sql(facts).fetchall() and len(again) == 12

    def test_documents_that_are_deleted_and_triples_that_are_not_there_are_left_out(self, built, tmp_path, cli):
        assert cli("export", built / "memory", "--hipporag", tmp_path / "corpus.json").code == 0
        titles = [row["title"] for row in json.loads((tmp_path / "corpus.json").read_text())]
        assert len(titles) == 11 and "Town 3" not in titles
        assert [path.name for path in tmp_path.iterdir()] == ["corpus.json"]


class TestTargets:
    def test_what_is_there_is_replaced_by_force_only(self, built, tmp_path, cli):
        for arguments in (["out.duckdb"], ["--hf", "hf"], ["--hipporag", "corpus.json"]):
            path = tmp_path / arguments[-1]
            words = ["export", built / "memory", *arguments[:-1], path]
            assert cli(*words).code == 0
            ran = cli(*words)
            assert ran.code == 2 and "already exists; pass --force" in ran.err
            assert cli(*words, "--force").code == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.json", "hf", "out.duckdb"]

    def test_folders_of_other_things_are_never_replaced(self, built, tmp_path, cli):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "letter.txt").write_text("dear")
        for arguments in (["--hf"], ["--hipporag"], []):
            assert cli("export", built / "memory", *arguments, tmp_path / "mine", "--force").code == 2
        assert (tmp_path / "mine" / "letter.txt").exists()

    def test_a_path_in_the_memory_or_in_no_folder_is_refused(self, built, tmp_path, cli):
        assert "in the memory's folder" in cli("export", built / "memory", built / "memory" / "out.duckdb").err
        assert "its folder does not exist" in cli("export", built / "memory", tmp_path / "no" / "out.duckdb").err
        assert "copy it there" in cli("export", built / "memory", "s3://bucket/out.duckdb").err
        assert "nothing to write" in cli("export", built / "memory").err

    def test_forms_at_one_path_are_refused_before_anything_is_written(self, built, tmp_path, cli):
        for first, *others in (
            ["same", "--hf", "same"],
            ["same.duckdb", "--hipporag", "./same.duckdb"],
            ["corpus.openie.json", "--hipporag", "corpus.json"],
        ):
            words = [tmp_path / first, others[0], f"{tmp_path}/{others[1]}"]
            ran = cli("export", built / "graph", *words)
            assert ran.code == 2 and "give each form a path of its own" in ran.err
        assert not [*tmp_path.iterdir()]

    def test_what_fails_leaves_the_former_file_and_nothing_else(self, built, tmp_path, cli, monkeypatch):
        path = tmp_path / "out.duckdb"
        path.write_text("former")

        def fail(*arguments):
            raise duckdb.IOException("No space left on device")

        monkeypatch.setattr(database, "catalogue", fail)
        ran = cli("export", built / "memory", path, "--force")
        assert ran.code == 2 and "No space left" in ran.err
        assert path.read_text() == "former" and [one.name for one in tmp_path.iterdir()] == ["out.duckdb"]

    def test_what_a_killed_export_has_left_is_removed_by_the_next_one_to_the_path(self, tmp_path):
        script = (
            "import os, pathlib, sys\n"
            "from mnemodex.pipelines.exports.target import replacing\n"
            "with replacing(pathlib.Path(sys.argv[1])) as part:\n"
            "    part.write_text('half')\n"
            "    part.with_name(part.name + '.wal').write_text('log')\n"
            "    os.kill(os.getpid(), 9)\n"
        )
        path = tmp_path / "out.duckdb"
        assert subprocess.run([sys.executable, "-c", script, path], check=False).returncode == -9
        assert len(list(tmp_path.iterdir())) == 3
        with replacing(path) as first:
            first.write_text("first")
            # One that is still being written is left alone.
            with replacing(path) as second:
                second.write_text("second")
            assert path.read_text() == "second" and first.exists()
        assert path.read_text() == "first" and [*tmp_path.iterdir()] == [path]

    def test_a_folder_comes_back_where_its_successor_cannot_take_its_place(self, tmp_path):
        (tmp_path / "hf").mkdir()
        with pytest.raises(ExportError, match="cannot be written"), replacing(tmp_path / "hf"):
            pass
        assert [path.name for path in tmp_path.iterdir()] == ["hf"]
