"""What a Python caller passes to a build besides the recipe: documents, a chunker, encoders; and their bad forms."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass

import numpy as np
import pytest
from builds import computed, keys, manifest
from library import records, words_recipe, write_jsonl
from passed_objects import Hashed, Sentences

import mnemodex
from mnemodex.pipelines.sources.packing import Packing
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import (
    DuplicateKeyError,
    ModelError,
    NotFiniteError,
    RecipeError,
    SourceError,
    StageFailedError,
)
from mnemodex.schemas.store.store import Store

pytestmark = pytest.mark.usefixtures("inline")

ROWS = records()[:9]
WORDS = {"words": {"type": "bm25"}}
DENSE = {"dense": {"type": "dense", "factory": "Flat"}}


class TestDocuments:
    def test_rows_become_documents_without_a_source_in_the_recipe(self, tmp_path):
        result = mnemodex.build({"indexes": WORDS}, memory=tmp_path / "memory", source=ROWS)
        assert result.committed and keys(tmp_path / "memory") == sorted(row["id"] for row in ROWS)
        found = mnemodex.open(tmp_path / "memory").sql("SELECT key, title, text, metadata FROM documents").fetchall()
        assert [(key, title, text, json.loads(metadata)) for key, title, text, metadata in found] == [
            (row["id"], row["title"], row["text"], {"lang": row["lang"], "year": row["year"]}) for row in ROWS
        ]
        hits = mnemodex.open(tmp_path / "memory").retriever("words").search(["rye bread baked twice"], 1).chunks()
        assert hits[0][0].key == "bakery-1"
        assert verify(tmp_path / "memory").problems == []

    def test_an_iterator_of_them_is_read_once(self, tmp_path):
        given = []

        def rows():
            for row in ROWS:
                given.append(row["id"])
                yield row

        mnemodex.build({"indexes": WORDS}, memory=tmp_path / "memory", source=rows())
        assert given == [row["id"] for row in ROWS] and len(keys(tmp_path / "memory")) == 9

    def test_they_take_the_place_of_the_recipes_source_and_keep_its_fields(self, tmp_path):
        fields = {"key": "nr", "text": "body"}
        for name, source in (("a", {"path": "nowhere", "fields": fields}), ("b", {"fields": fields})):
            recipe = {"source": source, "indexes": WORDS}
            mnemodex.build(recipe, memory=tmp_path / name, source=[{"nr": 7, "body": "ferries"}])
            assert keys(tmp_path / name) == ["7"]

    def test_a_recipe_file_may_leave_the_source_out_too(self, tmp_path):
        (tmp_path / "notes.yaml").write_text("memory: memory\nindexes:\n  words: {type: bm25}\n")
        mnemodex.build(tmp_path / "notes.yaml", source=ROWS)
        assert len(keys(tmp_path / "memory")) == 9
        with pytest.raises(RecipeError, match="the key 'source' is missing"):
            mnemodex.build(tmp_path / "notes.yaml")

    def test_the_same_rows_compute_nothing_again_and_more_rows_only_their_own(self, tmp_path, monkeypatch):
        monkeypatch.setattr("mnemodex.pipelines.source_plan.PACKING", Packing(rows=4))
        mnemodex.build({"indexes": WORDS}, memory=tmp_path / "memory", source=ROWS)
        again = mnemodex.build({"indexes": WORDS}, memory=tmp_path / "memory", source=iter(ROWS))
        assert (again.committed, computed(again)) == (False, {})
        more = mnemodex.build({"indexes": WORDS}, memory=tmp_path / "memory", source=[*ROWS, records()[9]])
        assert computed(more)["documents"] == computed(more)["chunks"] == 1

    def test_a_plan_reads_them_and_builds_nothing(self, tmp_path):
        plan = mnemodex.build({"indexes": WORDS}, memory=tmp_path / "memory", source=ROWS, dry_run=True)
        assert {step.name: step.computed for step in plan.steps}["documents"] == 1
        assert {path.name for path in (tmp_path / "memory").iterdir()} == {"work"}

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([ROWS[0], "a text"], "source: row 1 is a str, not a mapping of fields"),
            ([None], "source: row 0 is a NoneType, not a mapping of fields"),
            ([{"id": 1, "text": {1, 2}}], r"source: row 0 cannot be written as JSON \(.*set"),
            ([{"id": 1, "text": "a", "x": float("nan")}], "source: row 0 cannot be written as JSON"),
            ([{"id": 1, "text": "a", "x": object()}], "source: row 0 cannot be written as JSON"),
            ([], "source gives no rows; pass a list"),
            ([{"id": 1}], "no documents.*has no field 'text'"),
        ],
    )
    def test_what_is_no_document_is_refused(self, tmp_path, rows, message):
        with pytest.raises(SourceError, match=message):
            mnemodex.build({"indexes": WORDS}, memory=tmp_path / "memory", source=rows)
        assert Store(tmp_path / "memory").current() is None
        # And is no harm to the next build.
        mnemodex.build({"indexes": WORDS}, memory=tmp_path / "memory", source=ROWS)
        assert len(keys(tmp_path / "memory")) == 9

    def test_one_key_with_two_contents_is_refused(self, tmp_path):
        with pytest.raises(DuplicateKeyError, match="the key 'harbour-1' and different content"):
            mnemodex.build(
                {"indexes": WORDS}, memory=tmp_path / "memory", source=[*ROWS, {**ROWS[0], "text": "Other."}]
            )

    def test_an_iterator_that_fails_fails_the_build_with_its_own_error(self, tmp_path):
        mnemodex.build({"indexes": WORDS}, memory=tmp_path / "memory", source=ROWS)

        def rows():
            yield ROWS[0]
            raise ZeroDivisionError("by the caller")

        with pytest.raises(ZeroDivisionError, match="by the caller"):
            mnemodex.build({"indexes": WORDS}, memory=tmp_path / "memory", source=rows())
        assert len(keys(tmp_path / "memory")) == 9 and verify(tmp_path / "memory").problems == []


class TestChunker:
    @pytest.fixture
    def recipe(self, tmp_path):
        return words_recipe(write_jsonl(tmp_path / "notes.jsonl", ROWS), tmp_path / "memory")

    def test_it_cuts_the_chunks(self, recipe, tmp_path):
        mnemodex.build(recipe, chunker=Sentences())
        memory = mnemodex.open(tmp_path / "memory")
        texts = dict(memory.sql("SELECT key, text FROM documents").fetchall())
        found = memory.sql('SELECT d.key, c.start, c."end", c.text FROM chunks c JOIN documents d USING (doc_id)')
        rows = found.fetchall()
        assert len(rows) == sum(text.count(".") for text in texts.values()) > 9
        assert all(text == texts[key][start:end] and text.endswith(".") for key, start, end, text in rows)
        assert verify(tmp_path / "memory").problems == []

    def test_an_equal_one_computes_nothing_again_and_another_does(self, recipe):
        mnemodex.build(recipe, chunker=Sentences())
        again = mnemodex.build(recipe, chunker=Sentences())
        assert (again.committed, computed(again)) == (False, {})
        assert computed(mnemodex.build(recipe, chunker=Sentences(2)))["chunks"] == 1
        assert computed(mnemodex.build(recipe))["chunks"] == 1
        back = mnemodex.build(recipe, chunker=Sentences(2))
        assert back.committed and computed(back) == {}

    def test_values_in_slots_decide_too(self, recipe):
        @dataclass(frozen=True, slots=True)
        class Slotted:
            count: int

            def spans(self, texts):
                return Sentences(self.count).spans(texts)

        mnemodex.build(recipe, chunker=Slotted(1))
        assert computed(mnemodex.build(recipe, chunker=Slotted(1))) == {}
        assert computed(mnemodex.build(recipe, chunker=Slotted(2)))["chunks"] == 1

    def test_the_code_of_its_class_and_of_those_it_inherits_from_decides(self, recipe):
        class One(Sentences):
            pass

        class Other(One):
            def spans(self, texts):
                return super().spans(texts)

        mnemodex.build(recipe, chunker=One())
        assert computed(mnemodex.build(recipe, chunker=One())) == {}
        assert computed(mnemodex.build(recipe, chunker=Other()))["chunks"] == 1

    def test_an_attribute_identity_decides_alone(self, recipe):
        chunker = Sentences()
        chunker.identity = "sentences 1"
        chunker.lock = threading.Lock()
        mnemodex.build(recipe, chunker=chunker)
        other = Sentences(2)
        other.identity = "sentences 1"
        assert computed(mnemodex.build(recipe, chunker=other)) == {}

    def test_one_that_cannot_be_told_from_others_is_refused(self, recipe, tmp_path):
        chunker = Sentences()
        chunker.lock = threading.Lock()
        with pytest.raises(RecipeError, match=r"Sentences: what decides .* \(it holds a lock\); give it .* `identity`"):
            mnemodex.build(recipe, chunker=chunker)
        assert Store(tmp_path / "memory").current() is None

    def test_what_is_no_chunker_is_refused(self, recipe):
        with pytest.raises(RecipeError, match=r"chunker function has no method spans\(texts\); see the protocol"):
            mnemodex.build(recipe, chunker=lambda texts: texts)

    @pytest.mark.parametrize(
        ("spans", "message"),
        [
            (lambda texts: [np.array([[0, len(text) + 1]]) for text in texts], "beyond a text of"),
            (lambda texts: [np.array([[-1, 2]]) for _ in texts], "beyond a text of"),
            (lambda texts: [np.array([[5, 2]]) for _ in texts], "not in order"),
            (lambda texts: [np.array([[3, 5], [0, 2]]) for _ in texts], "not in order"),
            (lambda texts: [np.array([[0, 2], [0, 2]]) for _ in texts], "not in order"),
            (lambda texts: [np.array([0, 2]) for _ in texts], "no integers of shape"),
            (lambda texts: [np.array([[0.0, 2.5]]) for _ in texts], "no integers of shape"),
            (lambda texts: [[(0, 2)] for _ in texts], "no integers of shape"),
            (lambda texts: [np.array([[0, 2]])], "1 arrays for 9 texts"),
            (lambda texts: None, "a NoneType for 9 texts"),
        ],
        ids=[
            "too far",
            "before",
            "backwards",
            "out of order",
            "twice",
            "flat",
            "fractions",
            "lists",
            "few",
            "nothing",
        ],
    )
    def test_spans_that_are_none_fail_the_build_with_the_chunkers_name(self, recipe, tmp_path, spans, message):
        class Wrong:
            identity = "wrong"

            def spans(self, texts):
                return spans(texts)

        with pytest.raises(StageFailedError, match=rf"^chunks partition notes\.jsonl-00000: chunker Wrong .*{message}"):
            mnemodex.build(recipe, chunker=Wrong())
        assert Store(tmp_path / "memory").current() is None


class TestEncoders:
    @pytest.fixture
    def recipe(self, tmp_path):
        source = write_jsonl(tmp_path / "notes.jsonl", ROWS)
        return {"source": str(source), "memory": str(tmp_path / "memory"), "indexes": DENSE}

    def test_it_embeds_chunks_and_questions(self, recipe, tmp_path):
        mnemodex.build(recipe, encoders={"mine": Hashed()})
        made = manifest(tmp_path / "memory")
        assert list(made.encoders) == ["mine"] and made.encoders["mine"].dimension == 16
        assert made.indexes["dense"].table == "embeddings/mine"
        memory = mnemodex.open(tmp_path / "memory", encoders={"mine": Hashed()})
        questions = [f"{row['title']}\n{row['text']}" for row in ROWS]
        hits = memory.retriever("dense").search(questions, 1).chunks()
        assert [row[0].key for row in hits] == [row["id"] for row in ROWS]
        assert all(row[0].score == pytest.approx(1) for row in hits), "vectors have length 1, as the recipe says"
        assert memory.sql("SELECT len(embed_mine('a ship'))").fetchall() == [(16,)]
        assert verify(tmp_path / "memory").problems == []

    def test_settings_of_its_entry_hold_for_it(self, recipe, tmp_path):
        entry = {"normalize": False, "with_title": False, "query_prefix": "ships ", "passage_prefix": "lamps "}
        mnemodex.build({**recipe, "embed": {"mine": entry}}, encoders={"mine": Hashed()})
        memory = mnemodex.open(tmp_path / "memory", encoders={"mine": Hashed()})
        found = memory.sql("SELECT text, vector FROM embeddings_mine JOIN chunks USING (chunk_id)").fetchall()
        for text, vector in found:
            assert list(vector) == Hashed().encode([f"lamps {text}"])[0].tolist()
        assert memory.encoder("mine").encode_queries(["a"]).tolist() == Hashed().encode(["ships a"]).tolist()

    def test_an_equal_one_computes_nothing_again_and_another_does(self, recipe):
        mnemodex.build(recipe, encoders={"mine": Hashed()})
        again = mnemodex.build(recipe, encoders={"mine": Hashed()})
        assert (again.committed, computed(again)) == (False, {})
        again = mnemodex.build(recipe, encoders={"mine": Hashed(seed=1)})
        assert computed(again) == {"embeddings/mine": 1, "dense": 1, "dense: recall": 1}

    def test_it_stands_beside_a_model(self, recipe, tmp_path):
        indexes = {"one": {"type": "dense", "embed": "minilm"}, "two": {"type": "dense", "embed": "mine"}}
        recipe |= {"embed": {"minilm": {}}, "indexes": indexes}
        mnemodex.build(recipe, encoders={"mine": Hashed()})
        memory = mnemodex.open(tmp_path / "memory", encoders={"mine": Hashed()})
        for name in indexes:
            assert memory.retriever(name).search(["rye bread baked twice"], 3).ids.shape == (1, 3)

    def test_without_it_a_search_says_what_to_pass(self, recipe, tmp_path):
        mnemodex.build({**recipe, "indexes": {**DENSE, **WORDS}}, encoders={"mine": Hashed()})
        memory = mnemodex.open(tmp_path / "memory")
        assert memory.retriever("words").search(["bread"], 1).chunks()[0][0].key == "bakery-1"
        with pytest.raises(ModelError, match=r"'mine' was made by an object .* pass it again: encoders=\{'mine': enc"):
            memory.retriever("dense").search(["bread"], 1)

    def test_another_one_at_the_search_is_refused(self, recipe, tmp_path):
        mnemodex.build(recipe, encoders={"mine": Hashed()})
        for other in (Hashed(seed=1), Hashed(dimension=8)):
            memory = mnemodex.open(tmp_path / "memory", encoders={"mine": other})
            with pytest.raises(ModelError, match="embedding 'mine' was built with another encoder"):
                memory.retriever("dense").search(["bread"], 1)

    def test_the_command_line_says_that_it_cannot_search_there(self, recipe, tmp_path, cli):
        mnemodex.build(recipe, encoders={"mine": Hashed()})
        ran = cli("search", tmp_path / "memory", "dense", "bread")
        assert ran.code == 2 and "was made by an object that the caller of build passed" in ran.err

    def test_one_for_no_entry_of_a_checked_recipe_is_refused(self, recipe, tmp_path):
        from mnemodex.schemas.recipe import parse_recipe

        checked = parse_recipe(recipe, name="recipe", base=tmp_path)
        with pytest.raises(RecipeError, match=r"encoders\['mine'\] is for no entry .* embed, which has minilm"):
            mnemodex.build(checked, encoders={"mine": Hashed()})

    def test_what_is_no_encoder_is_refused(self, recipe):
        for made in (object(), lambda texts: texts):
            with pytest.raises(RecipeError, match=r"has no method encode\(texts\)"):
                mnemodex.build(recipe, encoders={"mine": made})

    def test_one_that_cannot_be_told_from_others_is_refused(self, recipe):
        made = Hashed()
        made.model = threading.Lock()
        with pytest.raises(RecipeError, match=r"Hashed: what decides its results cannot be told \(it holds a lock\)"):
            mnemodex.build(recipe, encoders={"mine": made})

    @pytest.mark.parametrize(
        ("encode", "error", "message"),
        [
            (lambda texts: np.zeros((len(texts), 3), np.float32), ModelError, r"Wrong gives vectors of shape \(9, 3\)"),
            (lambda texts: np.zeros((1, 16), np.float32), ModelError, r"Wrong gives vectors of shape \(1, 16\) for 9"),
            (lambda texts: None, ModelError, "Wrong gives"),
            (lambda texts: [["a"] * 16 for _ in texts], ModelError, "Wrong gives no matrix of vectors"),
            (lambda texts: np.full((len(texts), 16), np.nan), NotFiniteError, "embedding 'mine'.* NaN or infinity"),
        ],
        ids=["dimension", "rows", "nothing", "words", "nan"],
    )
    def test_vectors_that_are_none_fail_the_build(self, recipe, tmp_path, encode, error, message):
        class Wrong:
            identity = "wrong"
            dimension = 16

            def encode(self, texts):
                return encode(texts)

        with pytest.raises(error, match=message):
            mnemodex.build(recipe, encoders={"mine": Wrong()})
        assert Store(tmp_path / "memory").current() is None


def test_a_source_that_gives_nothing_is_refused_and_nothing_of_it_stays(tmp_path):
    recipe = words_recipe(tmp_path, tmp_path / "memory")
    used_up = iter(records()[:3])
    mnemodex.build(recipe, source=used_up, dry_run=True)
    assert not list(tmp_path.glob("memory/**/documents.jsonl"))
    with pytest.raises(SourceError, match="source gives no rows; pass a list, or a new iterator"):
        mnemodex.build(recipe, source=used_up)
    with pytest.raises(SourceError, match="source is a int; pass a list"):
        mnemodex.build(recipe, source=5)
    assert not list(tmp_path.glob("memory/**/documents.jsonl"))
