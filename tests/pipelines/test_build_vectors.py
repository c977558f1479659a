"""Vectors that were made elsewhere: read from files, given to the chunks that their ids name, and searched."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builds import computed, manifest
from library import write_parts

import mnemodex
from mnemodex.pipelines.vectors.files import read_headers, read_vectors
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import ModelError, QueryError, RecipeError, SourceError
from mnemodex.schemas.sections import DEFAULT_MODEL
from mnemodex.schemas.vector_sections import VectorFile

pytestmark = pytest.mark.usefixtures("inline")

KEYS = [f"k{number}" for number in range(40)]
DIMENSION = 8


def unit(rows, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((rows, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def folder(tmp_path):
    write_parts(tmp_path / "notes", [{"id": key, "text": f"Note {key} of the north."} for key in KEYS], 4)
    return tmp_path


def save(folder, vectors, keys=KEYS, name="vectors"):
    np.save(folder / f"{name}.npy", vectors)
    (folder / f"{name}.txt").write_text("".join(f"{key}\n" for key in keys))
    return {"from": str(folder / f"{name}.npy"), "ids": str(folder / f"{name}.txt")}


def recipe(folder, mine, **sections):
    indexes = {"dense": {"type": "dense", "factory": "Flat"}}
    return {
        "source": {"path": str(folder / "notes")},
        "memory": str(folder / "memory"),
        "embed": {"mine": mine},
        "indexes": indexes,
        **sections,
    }


def build(folder, mine, **sections):
    return mnemodex.build(recipe(folder, mine, **sections))


def refused(folder, mine, error=SourceError, **sections):
    with pytest.raises(error) as raised:
        build(folder, mine, **sections)
    assert not (folder / "memory" / "CURRENT").exists()
    return str(raised.value)


def unreadable(mine):
    """Why files of vectors cannot be read."""
    settings = VectorFile.model_validate(mine)
    with pytest.raises(SourceError) as raised:
        read_headers(settings)
        list(read_vectors(settings))
    return str(raised.value)


def stored(folder):
    """The vectors of the memory by the keys of their documents and the chunks' numbers."""
    tables = "embeddings_mine e JOIN chunks c USING (chunk_id) JOIN documents d USING (doc_id)"
    query = f"SELECT d.key, c.ordinal, e.vector FROM {tables}"
    rows = mnemodex.open(folder / "memory").sql(query).fetchall()
    return {(key, ordinal): np.array(vector, np.float32) for key, ordinal, vector in rows}


def nearest(folder, vectors, index="dense", k=1):
    hits = mnemodex.open(folder / "memory").retriever(index).search_vectors(vectors, k)
    return [[chunk.key for chunk in row] for row in hits.chunks()]


class TestFiles:
    def test_rows_in_any_order_are_given_to_the_chunks_that_their_ids_name(self, folder):
        vectors, order = unit(len(KEYS)), np.random.default_rng(1).permutation(len(KEYS))
        result = build(folder, save(folder, vectors[order], [KEYS[number] for number in order]))
        found = stored(folder)
        assert result.warnings == [] and len(found) == len(KEYS)
        for key, vector in zip(KEYS, vectors, strict=True):
            np.testing.assert_array_equal(found[key, 0], vector)
        assert nearest(folder, vectors) == [[key] for key in KEYS]
        assert verify(folder / "memory").problems == []
        assert manifest(folder / "memory").indexes["dense"].recall.source == "held-out rows"

    @pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
    def test_numbers_of_other_sizes_and_matrices_by_columns_are_read(self, folder, dtype):
        vectors = unit(len(KEYS)).astype(dtype)
        build(folder, save(folder, np.asfortranarray(vectors)))
        found = stored(folder)
        np.testing.assert_array_equal([found[key, 0] for key in KEYS], vectors.astype("f4"))

    def test_ids_may_be_an_array_of_strings_or_of_integers(self, folder):
        write_parts(folder / "notes", [{"id": number, "text": f"Note {number}."} for number in range(40)], 4)
        vectors = unit(40)
        np.save(folder / "ids.npy", np.arange(40))
        mine = save(folder, vectors) | {"ids": str(folder / "ids.npy")}
        build(folder, mine)
        np.save(folder / "ids.npy", np.arange(40).astype("U3"))
        assert computed(build(folder, mine)) == {"embeddings/mine: sort": 1}
        assert (stored(folder)["7", 0] == vectors[7]).all()

    def test_several_files_are_read_one_after_the_other(self, folder):
        vectors = unit(len(KEYS))
        first, second = save(folder, vectors[:30], KEYS[:30], "a"), save(folder, vectors[30:], KEYS[30:], "b")
        build(folder, {name: [first[name], second[name]] for name in first})
        build(folder, {"from": str(folder / "*.npy"), "ids": str(folder / "?.txt")})
        assert nearest(folder, vectors) == [[key] for key in KEYS]

    def test_chunks_of_a_document_are_named_by_their_number(self, folder):
        text = " ".join(["The harbour keeps two logs of the ships and the tides."] * 8)
        write_parts(folder / "notes", [{"id": "long", "text": text}, {"id": "b#1", "text": "Short."}], 1)
        for path in (folder / "notes").glob("part-[123].jsonl"):
            path.unlink()
        ids = ["long#2", "b#1#0", "long#0", "long#1", "long#3"]
        vectors = unit(len(ids))
        mine, chunks = save(folder, vectors, ids), {"by": "tokens", "size": 30}
        build(folder, mine, chunks=chunks)
        found = stored(folder)
        assert found.keys() == {("b#1", 0), *(("long", number) for number in range(4))}
        assert (found["long", 2] == vectors[0]).all() and (found["b#1", 0] == vectors[1]).all()

    @pytest.mark.parametrize(
        "kind", [pa.list_(pa.float32()), pa.list_(pa.float64(), DIMENSION), pa.large_list(pa.float16())]
    )
    def test_parquet_names_its_columns(self, folder, kind):
        vectors = unit(len(KEYS)).astype(np.float16)
        rows = pa.array(list(map(list, vectors)), pa.list_(pa.float16())).cast(kind)
        pq.write_table(pa.table({"id": KEYS, "n": [0] * 40, "emb": rows}), folder / "v.parquet")
        fields = {"key": "id", "vector": "emb", "ordinal": "n"}
        mine = {"from": str(folder / "v.parquet"), "fields": fields, "normalize": True}
        build(folder, mine)
        assert nearest(folder, vectors) == [[key] for key in KEYS]

    def test_parquet_may_have_the_ids_of_chunks(self, folder):
        build(folder, save(folder, unit(len(KEYS))))
        memory = mnemodex.open(folder / "memory")
        query = "SELECT chunk_id, vector FROM embeddings_mine ORDER BY hash(chunk_id)"
        pq.write_table(memory.sql(query).to_arrow_table(), folder / "v.parquet")
        result = build(folder, {"from": str(folder / "v.parquet")})
        assert computed(result) == {"embeddings/mine: sort": 1}


class TestIdentity:
    def test_only_partitions_with_other_vectors_are_made_again(self, folder):
        vectors = unit(len(KEYS))
        mine = save(folder, vectors)
        assert computed(build(folder, mine))["embeddings/mine"] == 4
        vectors[15] = unit(1, seed=3)
        save(folder, vectors)
        assert computed(build(folder, mine))["embeddings/mine"] == 1
        assert nearest(folder, vectors) == [[key] for key in KEYS]

    def test_files_that_moved_or_are_in_another_order_compute_nothing_of_the_table(self, folder):
        vectors = unit(len(KEYS))
        build(folder, save(folder, vectors))
        assert computed(build(folder, save(folder, vectors, name="moved"))) == {}
        backwards = save(folder, vectors[::-1], KEYS[::-1], name="backwards")
        assert computed(build(folder, backwards)) == {"embeddings/mine: sort": 1}

    def test_a_model_for_questions_decides_no_vectors(self, folder):
        vectors = np.pad(unit(len(KEYS)), ((0, 0), (0, 376)))
        mine = save(folder, vectors)
        build(folder, mine)
        result = build(folder, mine | {"questions": {"model": DEFAULT_MODEL}})
        assert computed(result) == {}
        memory = mnemodex.open(folder / "memory")
        question = memory.encoder("mine").encode_queries(["a harbour"])
        dense = memory.retriever("dense")
        np.testing.assert_array_equal(dense.search(["a harbour"]).ids, dense.search_vectors(question).ids)
        assert len(memory.sql("SELECT embed_mine('a')[1]").fetchall()) == 1


class TestSearches:
    def test_every_engine_metric_and_a_fusion_are_built_over_them(self, folder):
        vectors = 3 * unit(len(KEYS))
        indexes = {
            "graph": {"type": "dense", "engine": "hnswlib", "metric": "l2"},
            "lists": {"type": "dense", "factory": "IVF2,Flat"},
            "codes": {"type": "dense", "factory": "SQ8"},
            "words": {"type": "bm25"},
            "both": {"type": "hybrid", "of": ["graph", "words"]},
        }
        build(folder, save(folder, vectors) | {"normalize": False}, indexes=indexes)
        for index in ("graph", "lists"):
            memory = mnemodex.open(folder / "memory")
            assert (
                memory.retriever(index).search_vectors(vectors[:3], 1, where="d.key < 'k1'").chunks()[0][0].key == "k0"
            )
        assert nearest(folder, vectors, "graph") == [[key] for key in KEYS]
        with pytest.raises(ModelError, match=r"search_vectors\(array, k\).*questions:"):
            memory.retriever("both").search(["note"])

    def test_cosines_are_those_of_questions_of_any_length(self, folder):
        vectors = unit(len(KEYS))
        build(folder, save(folder, 7 * vectors) | {"normalize": True})
        hits = mnemodex.open(folder / "memory").retriever("dense").search_vectors(20 * vectors, 2)
        np.testing.assert_allclose(hits.scores[:, 0], 1, atol=1e-5)
        assert hits.reasons()[0][0] == []

    def test_recall_is_measured_with_vectors_of_questions(self, folder):
        np.save(folder / "asked.npy", 3 * unit(5, seed=4))
        dense = {"dense": {"type": "dense", "factory": "HNSW8", "queries": str(folder / "asked.npy")}}
        mine = save(folder, 2 * unit(len(KEYS))) | {"normalize": True}
        build(folder, mine, indexes=dense)
        recall = manifest(folder / "memory").indexes["dense"].recall
        assert (recall.source, recall.probes) == ("queries", 5)
        assert computed(build(folder, mine, indexes=dense)) == {}
        np.save(folder / "asked.npy", unit(5, seed=5))
        assert computed(build(folder, mine, indexes=dense))["dense: queries"] == 1
        np.save(folder / "asked.npy", np.zeros((5, 3), np.float32))
        with pytest.raises(
            QueryError, match=r"asked.npy: its vectors have 3 dimensions, and those of embed.mine have 8"
        ):
            build(folder, mine, indexes=dense)

    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            (np.zeros((0, DIMENSION), np.float32), "has no vectors"),
            (np.full((3, DIMENSION), 1e300), "row 1: the vector holds NaN, infinity or what float32"),
            (np.array([[1.0] * DIMENSION, [np.nan] * DIMENSION]), "row 2: the vector holds NaN"),
            (np.ones((3, 5), np.float32), f"have 5 dimensions, and those of embed.mine have {DIMENSION}"),
        ],
    )
    def test_vectors_of_questions_that_no_index_can_be_asked_are_refused_by_their_file(self, folder, asked, said):
        np.save(folder / "questions.npy", asked)
        indexes = {"dense": {"type": "dense", "queries": str(folder / "questions.npy")}}
        message = refused(folder, save(folder, unit(40)), QueryError, indexes=indexes)
        assert message.startswith(f"{folder / 'questions.npy'}: ") and said in message

    def test_an_archive_of_arrays_is_no_file_of_vectors_ids_or_questions(self, folder):
        mine = save(folder, unit(40))
        with (folder / "archive.npy").open("wb") as file:
            np.savez(file, unit(40))
        archive = str(folder / "archive.npy")
        indexes = {"dense": {"type": "dense", "queries": archive}}
        for message in (
            unreadable({**mine, "from": archive}),
            unreadable({**mine, "ids": archive}),
            refused(folder, mine, indexes=indexes),
        ):
            assert message.startswith(f"{archive}: ") and "numpy.savez" in message

    def test_lists_without_numbers_are_no_vectors(self, folder):
        lists = pa.array([[] for _ in KEYS], pa.list_(pa.float32()))
        pq.write_table(pa.table({"key": KEYS, "vector": lists}), folder / "empty.parquet")
        mine = {"from": str(folder / "empty.parquet"), "normalize": False}
        assert "row 1 has a vector of no numbers" in refused(folder, mine)

    def test_without_a_model_questions_in_words_and_sql_have_none(self, folder, cli):
        build(folder, save(folder, unit(len(KEYS))))
        ran = cli("search", folder / "memory", "dense", "a note")
        assert ran.code == 2 and "search_vectors(array, k)" in ran.err
        assert ran.err.startswith(f"error: {folder / 'vectors.npy'}: its vectors have no model for questions")
        assert cli("sql", folder / "memory", "SELECT embed_mine('a')").code == 2
        shown = cli("show", folder / "memory").out
        assert "vectors.npy" in shown and "no questions in words" in shown


class TestRefusals:
    @pytest.mark.parametrize(
        ("value", "said"),
        [(np.nan, "NaN, infinity"), (np.inf, "NaN, infinity"), (0.0, "the vector is zero"), (2.0, "`normalize: true`")],
    )
    def test_vectors_that_no_index_can_hold_are_named(self, folder, value, said):
        vectors = unit(len(KEYS))
        vectors[12] = value
        message = refused(folder, save(folder, vectors))
        assert said in message and "vectors.npy: row 13" in message

    def test_numbers_beyond_float32_are_refused(self, folder):
        vectors = unit(len(KEYS)).astype(np.float64)
        vectors[3, 3] = 1e300
        assert "row 4: the vector holds NaN" in refused(folder, save(folder, vectors))

    def test_inner_products_may_have_zeros_and_any_length(self, folder):
        vectors = unit(len(KEYS))
        vectors[12] = 0
        build(folder, save(folder, vectors * 5) | {"normalize": False})
        assert not stored(folder)["k12", 0].any()

    @pytest.mark.parametrize("count", [39, 41])
    def test_the_wrong_number_of_vectors_is_refused(self, folder, count):
        message = unreadable(save(folder, unit(count)))
        counted = "40" if count == 41 else "more than 39"
        assert f"has {count} vectors, but" in message and f"has {counted} ids" in message

    def test_an_id_that_is_there_twice_names_both_rows(self, folder):
        message = refused(folder, save(folder, unit(41), [*KEYS, "k7"]))
        assert "row 41 has the id of row 8" in message

    def test_chunks_without_a_vector_are_counted_and_one_is_named(self, folder):
        message = refused(folder, save(folder, unit(38), KEYS[:-2]))
        assert "2 of 40 chunks have no vector, the first is chunk 0 of document 'k38'" in message

    def test_ids_of_nothing_are_refused_and_some_of_them_counted(self, folder):
        assert "none of its ids is of a chunk" in refused(folder, save(folder, unit(40), [f"x{key}" for key in KEYS]))
        result = build(folder, save(folder, unit(43), ["x", "y", *KEYS, "z"]))
        assert result.warnings == [
            "embed.mine: 3 of 43 vectors are of no chunk (the first: row 1 of vectors.npy); their ids are the "
            "documents' keys"
        ]

    @pytest.mark.parametrize(
        ("matrix", "said"),
        [
            (np.zeros(40), "has the shape (40,)"),
            (np.zeros((2, 20, 8)), "has the shape (2, 20, 8)"),
            (np.zeros((40, 0)), "has the shape (40, 0)"),
            (np.zeros((40, 8), np.int8), "int8"),
            (np.zeros((40, 8), complex), "complex128"),
            (np.array([{}], object), "Python objects"),
            (np.zeros((0, 8)), "has no vectors"),
        ],
    )
    def test_what_is_no_matrix_of_vectors_is_refused(self, folder, matrix, said):
        assert said in unreadable(save(folder, matrix))

    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            ("vectors.npy", b"", "the file is empty"),
            ("vectors.npy", b"\x80\x04]\x94.", "no .npy file"),
            ("vectors.npy", b"\x93NUMPY\x01\x00", "damaged"),
            ("vectors.txt", b"k0\n\nk2\n", "line 2 is empty"),
            ("vectors.txt", b"k0\n\xff\n", "line 2 is not UTF-8"),
            ("vectors.txt", b"", "has 0 ids"),
        ],
    )
    def test_files_that_are_damaged_are_refused(self, folder, name, content, said):
        mine = save(folder, unit(40))
        (folder / name).write_bytes(content)
        assert said in unreadable(mine)

    def test_files_of_two_models_are_refused(self, folder):
        first, second = save(folder, unit(20), KEYS[:20], "a"), save(folder, np.ones((20, 5), "f4"), KEYS[20:], "b")
        mine = {name: [first[name], second[name]] for name in first}
        assert "its vectors have 5 dimensions, but those of" in unreadable(mine)

    @pytest.mark.parametrize(
        ("columns", "said"),
        [
            ({"id": KEYS, "vector": [[1.0]] * 40}, "has no column 'key', but id, vector"),
            (
                {"key": KEYS, "vector": [[1.0]] * 39 + [[1.0, 0.0]]},
                "row 40 has a vector of 2 numbers, and row 1 one of 1",
            ),
            ({"key": KEYS, "vector": [[1.0]] * 39 + [None]}, "row 40 has no value of 'vector'"),
            ({"key": KEYS, "vector": [[1.0]] * 39 + [[None]]}, "lacks a number"),
            ({"key": KEYS, "vector": ["a"] * 40}, "the column 'vector' is of type string"),
            ({"key": [1.5] * 40, "vector": [[1.0]] * 40}, "the column 'key' is of type double"),
        ],
    )
    def test_parquet_of_other_columns_is_refused(self, folder, columns, said):
        pq.write_table(pa.table(columns), folder / "v.parquet")
        assert said in unreadable({"from": str(folder / "v.parquet")})

    def test_files_whose_ids_are_of_different_kinds_are_refused(self, folder):
        vectors = unit(2).tolist()
        pq.write_table(pa.table({"key": KEYS[:2], "vector": vectors}), folder / "a.parquet")
        pq.write_table(pa.table({"key": KEYS[2:4], "ordinal": [0, 0], "vector": vectors}), folder / "b.parquet")
        said = unreadable({"from": str(folder / "*.parquet")})
        assert "b.parquet: its ids are in other columns than those of" in said and "a.parquet" in said

    @pytest.mark.parametrize(
        ("mine", "said"),
        [
            ({"from": "v.npy"}, "add `ids: FILE`"),
            ({"from": "v.csv", "ids": "ids.txt"}, "in files .npy or .parquet"),
            ({"from": "v.parquet", "ids": "ids.txt"}, "remove `ids`"),
            ({"from": ["v.parquet", "v.npy"], "ids": "ids.txt"}, "in one format"),
            ({"from": "v.parquet", "fields": {"id": "key"}}, "unknown field 'id'"),
            ({"from": [], "ids": "ids.txt"}, "from"),
            ({"from": "v.parquet", "questions": {"from": "w.parquet"}}, "questions"),
        ],
    )
    def test_a_section_that_cannot_be_meant_is_refused(self, folder, mine, said):
        assert said in refused(folder, mine, RecipeError)

    def test_missing_files_are_named(self, folder):
        mine = save(folder, unit(40))
        assert "`ids` of the embedding" in unreadable(mine | {"ids": str(folder / "no.txt")})
        assert "`from` of the embedding" in unreadable(mine | {"from": str(folder / "no.npy")})

    def test_indexes_that_encode_texts_of_their_own_name_a_model(self, folder):
        mine = save(folder, unit(40))
        lite = {"lite": {"type": "graph", "method": "bridge-lite"}}
        assert "name an embedding with a model" in refused(folder, mine, RecipeError, indexes=lite)
        (folder / "q.jsonl").write_text(json.dumps({"id": "q", "question": "a"}) + "\n")
        asked = {"dense": {"type": "dense", "queries": str(folder / "q.jsonl")}}
        assert "names no model for questions" in refused(folder, mine, RecipeError, indexes=asked)

    def test_a_model_for_questions_makes_vectors_of_the_same_dimension(self, folder):
        mine = save(folder, unit(40)) | {"questions": {"model": DEFAULT_MODEL}}
        assert "makes vectors of 384 dimensions, and those of the files have 8" in refused(folder, mine, ModelError)


class TestChanges:
    @pytest.fixture
    def memory(self, folder):
        """Of 40 documents, and any files of vectors in the folder."""
        save(folder, unit(42)[:40])
        build(folder, {"from": str(folder / "*.npy"), "ids": str(folder / "v*.txt")})
        return mnemodex.open(folder / "memory")

    def test_documents_that_are_added_have_their_vectors_in_the_files(self, folder, memory):
        vectors = unit(42)
        with pytest.raises(SourceError, match=r"1 of 41 chunks have no vector, the first is chunk 0 of document 'new'"):
            memory.add([{"id": "new", "text": "A new note."}])
        save(folder, vectors[40:], ["new", "other"], name="vnew")
        assert memory.add([{"id": "new", "text": "A new note."}]) == 1
        assert nearest(folder, vectors[40:41]) == [["new"]]
        assert verify(folder / "memory").problems == []

    def test_documents_that_are_updated_have_another_vector_where_the_files_have_one(self, folder, memory):
        vectors = unit(42)
        assert memory.update([{"id": "k3", "text": "Another text."}]) == 1
        assert nearest(folder, vectors[3:4]) == [["k3"]]
        vectors[3] = vectors[41]
        save(folder, vectors[:40])
        assert memory.update([{"id": "k3", "text": "A third text."}]) == 1
        assert nearest(folder, vectors[[3, 41]]) == [["k3"], ["k3"]]
        assert verify(folder / "memory").problems == []

    def test_documents_that_are_deleted_need_no_vector(self, folder, memory):
        vectors = unit(42)
        assert memory.delete(["k4", "k5"]) == 2
        save(folder, np.delete(vectors, [4, 5], axis=0)[:38], [key for key in KEYS if key not in ("k4", "k5")])
        assert memory.update([{"id": "k3", "text": "Another text."}]) == 1
        assert not {"k4", "k5"} & {row[0] for row in nearest(folder, vectors[:40])}
        assert nearest(folder, vectors[3:4]) == [["k3"]]
        mnemodex.build(recipe(folder, {"from": str(folder / "*.npy"), "ids": str(folder / "v*.txt")}))
        assert len(stored(folder)) == 38 and verify(folder / "memory").problems == []
