"""The indexes of a recipe: what is refused before any work, and the recall in the manifest."""

from __future__ import annotations

import numpy as np
import pytest
from library import records, words_recipe, write_jsonl

import mnemodex
from mnemodex.schemas.errors import ModelError, QueryError, RecipeError
from mnemodex.schemas.manifest import SearchParameters
from mnemodex.schemas.store.store import open_store


@pytest.fixture
def recipe(tmp_path):
    return words_recipe(write_jsonl(tmp_path / "notes.jsonl", records()[:30]), tmp_path / "memory")


@pytest.mark.parametrize(
    ("indexes", "message"),
    [
        ({"a": {"type": "dens"}}, "indexes.a: unknown index type 'dens'; did you mean 'dense'?"),
        ({"a": {"type": 5}}, "indexes.a: unknown index type 5; known: dense, bm25"),
        ({"a": {"k1": 1.2}}, "indexes.a: the key 'type' is missing"),
        ({"a": {"type": "bm25", "k": 1.2}}, "unknown key 'indexes.a.k'; did you mean 'k1'?"),
        ({"a": {"type": "bm25", "b": 2}}, "indexes.a.b: should be 1 or less (it is 2)"),
        ({"a": {"type": "dense", "factori": "Flat"}}, "unknown key 'indexes.a.factori'; did you mean 'factory'?"),
        ({"a": {"type": "dense", "factory": "Flatt"}}, "indexes.a: factory 'Flatt' is no FAISS index"),
        ({"a": {"type": "dense", "factory": "IVFF"}}, "'IVFF' is no FAISS index of 384 dimensions"),
        ({"a": {"type": "dense", "factory": "IVF16,PQ7,"}}, "is no FAISS index of 384 dimensions"),
        ({"a": {"type": "dense", "engine": "hnswlib", "factory": "Flat"}}, "`factory` is no option of engine hnswlib"),
        ({"a": {"type": "dense", "embed": "e5"}}, "embeddings are: minilm"),
        ({"a": {"type": "dense", "target_recall": 1.5}}, "indexes.a.target_recall: should be 1 or less"),
        ({"a": {"type": "hybrid"}}, "the key 'indexes.a.of' is missing"),
        ({"a": {"type": "hybrid", "of": ["w"]}, "w": {"type": "bm25"}}, "indexes.a.of: should have 2 or more values"),
        (
            {"a": {"type": "hybrid", "of": ["w", "x"]}, "w": {"type": "bm25"}},
            "indexes.a.of names 'x'; other indexes are: w",
        ),
        ({"a": {"type": "hybrid", "of": ["w", "a"]}, "w": {"type": "bm25"}}, "indexes.a.of names 'a'"),
        (
            {
                "w": {"type": "bm25"},
                "a": {"type": "hybrid", "of": ["w", "b"]},
                "b": {"type": "hybrid", "of": ["w", "a"]},
            },
            "indexes are made of each other: ",
        ),
        (
            {"a": {"type": "seal"}, "w": {"type": "bm25"}},
            "indexes.a needs one index of type ngram, but the recipe has 0; add one, as `ngrams: {type: ngram}`",
        ),
        (
            {"a": {"type": "seal"}, "m": {"type": "ngram"}, "n": {"type": "ngram", "document_array": False}},
            "indexes.a needs one index of type ngram, but the recipe has 2; name one in `of`: m, n",
        ),
        (
            {"a": {"type": "seal", "of": "w"}, "w": {"type": "bm25"}, "n": {"type": "ngram"}},
            "indexes.a.of names 'w', which is of type bm25 and not ngram; indexes of that type are: n",
        ),
        ({"a": {"type": "seal", "of": "x"}, "n": {"type": "ngram"}}, "indexes.a.of names 'x'; other indexes are: n"),
        ({"a": {"type": "seal", "of": ["n"]}, "n": {"type": "ngram"}}, "indexes.a.of: should be a text"),
        ({"a": {"type": "seal", "score": "lm"}, "n": {"type": "ngram"}}, "score lm needs a language model"),
        (
            {"a": {"type": "seal", "title_prompt": "Name it:"}, "n": {"type": "ngram"}},
            "indexes.a.title_prompt: a prompt must contain {question} in the place of the question",
        ),
        ({"Big Name": {"type": "bm25"}}, "name 'Big Name' is used as a folder and in SQL"),
        ({"../up": {"type": "bm25"}}, "name '../up' is used as a folder and in SQL"),
        ({"a": ["bm25"]}, "indexes.a: should be a mapping"),
    ],
)
def test_a_wrong_index_is_refused_before_any_work_with_its_key_and_the_nearest(recipe, inline, indexes, message):
    with pytest.raises(RecipeError) as caught:
        mnemodex.build({**recipe, "indexes": indexes})
    assert str(caught.value).startswith("recipe: ") and message in str(caught.value)
    assert inline.computed == 0


def test_the_recipe_file_is_named_in_the_error(recipe, inline, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("source: notes.jsonl\nindexes:\n  dense: {type: dens}\n")
    with pytest.raises(RecipeError, match=r"wrong\.yaml: indexes\.dense: unknown index type 'dens'"):
        mnemodex.build(path)


def test_a_query_file_that_is_not_there_is_refused_before_any_work(recipe, inline, tmp_path):
    index = {"type": "dense", "queries": str(tmp_path / "questions.jsonl")}
    with pytest.raises(QueryError, match=r"questions\.jsonl: cannot be read"):
        mnemodex.build({**recipe, "indexes": {"dense": index}})
    assert inline.computed == 0


def test_a_language_model_that_is_not_there_is_refused_before_any_work(recipe, inline):
    indexes = {"n": {"type": "ngram"}, "s": {"type": "seal", "model": "no/such/model"}}
    with pytest.raises(ModelError, match="model 'no/such/model'"):
        mnemodex.build({**recipe, "indexes": indexes})
    assert inline.computed == 0


def test_an_index_that_searches_one_other_finds_the_only_one(recipe, inline, tmp_path):
    indexes = {
        "keys": {"type": "seal"},
        "n": {"type": "ngram"},
        "both": {"type": "hybrid", "of": ["keys", "w"]},
        "w": {"type": "bm25"},
    }
    mnemodex.build({**recipe, "indexes": indexes})
    memory = mnemodex.open(tmp_path / "memory")
    assert memory.snapshot.index("keys").settings["of"] == "n"
    assert memory.retriever("both").search(["rye bread baked twice"], 1).chunks()[0][0].title.startswith("Bakery")


def test_recall_is_measured_with_held_out_rows_or_with_questions(recipe, inline, tmp_path):
    queries = write_jsonl(
        tmp_path / "q.jsonl",
        [{"id": n, "question": f"question about {row['title']}"} for n, row in enumerate(records()[:12])],
    )
    indexes = {
        "rows": {"type": "dense", "factory": "HNSW8"},
        "asked": {"type": "dense", "factory": "HNSW8", "queries": str(queries), "target_recall": 0.9},
        "exact": {"type": "dense", "factory": "Flat", "queries": str(queries)},
        "words": {"type": "bm25"},
    }
    result = mnemodex.build({**recipe, "indexes": indexes})
    made = open_store(tmp_path / "memory")[1].indexes
    held_out, asked, exact = (made[name].recall for name in ("rows", "asked", "exact"))
    assert (held_out.source, held_out.probes, held_out.k) == ("held-out rows", 1, 10)
    assert (asked.source, asked.probes, asked.target) == ("queries", 12, 0.9)
    assert (exact.source, exact.recall, exact.parameter) == ("queries", 1.0, None)
    assert (exact.low, exact.high, exact.reached) == (1, 1, True)
    for recall in (held_out, asked):
        assert recall.parameter == "efSearch" and 0.9 <= recall.recall <= 1
        assert recall.value in recall.curve
        # So few probes show little, even where all was found.
        assert recall.low < 0.8 and recall.high == 1 and not recall.reached
    warnings = [warning for warning in result.warnings if "questions" in warning]
    assert len(warnings) == 2 and "index 'asked': recall@10 is" in warnings[1] and "over 12 probes" in warnings[1]
    assert made["asked"].search == SearchParameters(parameter="efSearch", value=asked.value)
    assert made["words"].recall is None


def test_the_questions_decide_the_figure_and_a_target_only_the_choice(recipe, inline, tmp_path):
    queries = write_jsonl(tmp_path / "q.jsonl", [{"id": "a", "question": "ships"}])
    index = {"type": "dense", "factory": "HNSW8", "queries": str(queries)}

    def computed(**changes):
        result = mnemodex.build({**recipe, "indexes": {"dense": {**index, **changes}}})
        return {step.name for step in result.steps if step.computed}

    assert any(name.startswith("dense") for name in computed())
    assert computed() == set()
    assert computed(target_recall=0.5) == {"dense: recall"}
    write_jsonl(queries, [{"id": "a", "question": "ships"}, {"id": "b", "question": "bread"}])
    assert "dense" in computed()
    assert open_store(tmp_path / "memory")[1].indexes["dense"].recall.probes == 2


def test_a_recall_below_its_target_is_warned_of(recipe, inline, tmp_path, monkeypatch):
    from mnemodex.indexers.dense.probe import Probe

    monkeypatch.setattr(Probe, "recalls", lambda self: np.full((len(self.values), 50), 0.25))
    result = mnemodex.build({**recipe, "indexes": {"dense": {"type": "dense", "factory": "HNSW8"}}})
    (warning,) = result.warnings
    assert warning.startswith("index 'dense': recall@10 is 0.250 over 1 probe (95 % interval 0.23")
    assert "below its target of 0.95; try another factory" in warning
    assert open_store(tmp_path / "memory")[1].indexes["dense"].recall.reached is False


def test_the_default_indexes_are_dense_words_and_both(recipe, inline, tmp_path):
    del recipe["indexes"]
    mnemodex.build(recipe)
    memory = mnemodex.open(tmp_path / "memory")
    assert {name: memory.snapshot.index(name).type for name in memory.indexes} == {
        "dense": "dense",
        "words": "bm25",
        "both": "hybrid",
    }
    assert memory.snapshot.manifest.indexes["dense"].settings["embed"] == "minilm"
    assert memory.retriever("both").search(["rye bread baked twice"], 1).chunks()[0][0].title.startswith("Bakery")


def test_two_embeddings_live_side_by_side(recipe, inline, tmp_path):
    embed = {"titled": {}, "bare": {"with_title": False}}
    indexes = {"one": {"type": "dense"}, "two": {"type": "dense", "embed": "bare"}}
    mnemodex.build(
        {
            **recipe,
            "source": {"path": str(write_jsonl(tmp_path / "few.jsonl", records()[:5]))},
            "embed": embed,
            "indexes": indexes,
        }
    )
    memory = mnemodex.open(tmp_path / "memory")
    assert [memory.snapshot.index(name).table for name in indexes] == ["embeddings/titled", "embeddings/bare"]
    vectors = memory.sql("SELECT t.vector = b.vector FROM embeddings_titled t JOIN embeddings_bare b USING (chunk_id)")
    assert vectors.fetchall() == [(False,)] * 5
    assert memory.sql("SELECT len(embed_titled('a')), len(embed_bare('a'))").fetchall() == [(384, 384)]


def test_an_embedding_that_no_index_needs_is_not_made(recipe, inline, tmp_path):
    result = mnemodex.build({**recipe, "embed": {"minilm": {}, "other": {}}})
    assert not any(step.name.startswith("embeddings") for step in result.steps)
