"""Question-answer pairs in a build: their tables, their passages, what is left out, and what growth computes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from builds import computed, manifest
from library import write_jsonl, write_parts
from passed_objects import Hashed

import mnemodex
from mnemodex.indexers.encoders.base import normalize
from mnemodex.pipelines.qa import lines as lines_module
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import QueryError, RecipeError, SourceError

pytestmark = pytest.mark.usefixtures("inline")

NOTES = [
    {"id": "ada", "title": "Ada Lovelace", "text": "She was born in London. She wrote notes on the engine."},
    {"id": "babbage", "title": "Charles Babbage", "text": "He designed the Analytical Engine in London."},
    {"id": "moss", "title": "Moss", "text": "It grows."},
]
PAIRS = [
    {"id": "p1", "question": "Where was Ada born?", "answers": ["London"], "passage_id": "ada"},
    {"id": "p2", "question": "What did Ada write?", "answers": ["NOTES", "letters"], "passage_id": "ada"},
    {"id": "p3", "question": "where was Ada  born", "answers": ["Paris", "london"], "passage_id": "moss"},
    {"id": "p4", "question": "Who designed the engine?", "answer": "Babbage"},
]
PLACES = (
    "SELECT q.key, d.key, c.ordinal, q.grounded FROM qa_pairs q LEFT JOIN documents d USING (doc_id) "
    "LEFT JOIN chunks c USING (chunk_id) ORDER BY q.key"
)


@pytest.fixture
def file(tmp_path):
    return write_jsonl(tmp_path / "pairs.jsonl", PAIRS)


@pytest.fixture
def recipe(tmp_path, file):
    return {
        "source": {"path": str(write_parts(tmp_path / "notes", NOTES, 2))},
        "memory": str(tmp_path / "memory"),
        "chunks": {"by": "tokens", "size": 6, "overlap": 0},
        "embed": {"e": {}},
        "indexes": {"qa": {"type": "qa"}},
        "qa_pairs": {"from": str(file)},
    }


def build(recipe, **options):
    return mnemodex.build(recipe, encoders={"e": Hashed(24)}, **options)


def opened(recipe):
    return mnemodex.open(recipe["memory"], encoders={"e": Hashed(24)})


def rows(recipe, query):
    return opened(recipe).sql(query).fetchall()


def reused(result, name):
    return next(step.rows_reused for step in result.steps if step.name == name)


def test_pairs_are_tied_to_the_chunk_that_holds_an_answer(recipe):
    result = build(recipe)
    assert rows(recipe, PLACES) == [
        ("p1", "ada", 0, True),
        ("p2", "ada", 1, True),
        ("p3", "moss", 0, False),
        ("p4", None, None, None),
    ]
    assert result.warnings == [
        "qa_pairs: 1 of 3 pairs with a passage have no answer in it (the first: 'p3'); in the table they are not "
        "`grounded`"
    ]
    assert verify(recipe["memory"]).problems == []
    assert rows(recipe, "SELECT DISTINCT generator, score FROM qa_pairs") == [("file", None)]


def test_equal_questions_are_one_row_with_the_answers_of_all(recipe):
    build(recipe)
    asked = "SELECT question, answers, pairs FROM questions ORDER BY question"
    assert rows(recipe, asked) == [
        ("What did Ada write?", ["NOTES", "letters"], 1),
        ("Where was Ada born?", ["London", "Paris"], 2),
        ("Who designed the engine?", ["Babbage"], 1),
    ]
    joined = (
        "SELECT count(*) FROM qa_pairs JOIN questions q USING (question_id) WHERE list_contains(q.answers, 'Paris')"
    )
    assert rows(recipe, joined) == [(2,)]


def test_unusable_rows_repeats_and_unknown_passages_are_counted(recipe, file):
    bad = [{"id": "p5", "question": "Who?", "answers": []}, {"id": "p6", "answers": ["x"]}]
    more = [PAIRS[0], {"id": "p7", "question": "Why?", "answer": "so", "passage_id": "nowhere"}]
    write_jsonl(file, [*PAIRS, *bad, *more])
    result = build(recipe)
    assert [warning.split("; ")[0] for warning in result.warnings[:3]] == [
        "qa_pairs: 2 rows left out: pairs.jsonl line 5: has no answer",
        "qa_pairs: 1 row repeat a pair, its key included",
        "qa_pairs: 1 of 6 pairs name a passage that is no document's key (the first: the pair 'p7')",
    ]
    assert rows(recipe, "SELECT stage, line FROM errors ORDER BY line") == [("qa_pairs", 5), ("qa_pairs", 6)]
    assert rows(recipe, "SELECT count(*), count(doc_id) FROM qa_pairs") == [(5, 3)]
    recipe["qa_pairs"]["max_errors"] = 1
    with pytest.raises(SourceError, match=r"pairs\.jsonl: more than `qa_pairs\.max_errors: 1` rows cannot be used"):
        build(recipe)


def test_repeats_are_found_across_batches(recipe, file, monkeypatch):
    monkeypatch.setattr(lines_module, "_BATCH", 2)
    asked = [{"id": n % 5, "question": f"What is {n % 5}?", "answer": "x"} for n in range(20)]
    write_jsonl(file, asked)
    assert build(recipe).warnings == ["qa_pairs: 15 rows repeat a pair, its key included; each is kept once"]
    assert rows(recipe, "SELECT count(*), count(DISTINCT key) FROM qa_pairs") == [(5, 5)]
    assert rows(recipe, "SELECT count(*) FROM files WHERE table_name = 'qa_pairs'") == [(3,)]
    assert opened(recipe).retriever("qa").predict(["What is 4?"]) == ["x"]


def test_a_file_of_nothing_usable_is_refused(recipe, file):
    write_jsonl(file, [{"question": "Who?"}])
    with pytest.raises(
        SourceError, match=r"none of its 1 row is a question-answer pair: pairs\.jsonl line 1: has no answer"
    ):
        build(recipe)


def test_chunks_are_not_embedded_for_questions(recipe):
    assert "embeddings/e" not in {step.name for step in build(recipe).steps}
    recipe["indexes"]["dense"] = {"type": "dense"}
    assert computed(build(recipe)).keys() == {"embeddings/e", "dense", "dense: recall"}


def test_recall_is_measured_with_the_questions_of_a_file_as_a_search_encodes_them(recipe, tmp_path):
    questions = write_jsonl(tmp_path / "q.jsonl", [{"id": "a", "question": " WHERE was  Ada born?? "}])
    recipe["indexes"]["qa"] |= {"factory": "HNSW8", "queries": str(questions), "target_recall": 0.9}
    build(recipe)
    kept = manifest(recipe["memory"])
    recall = kept.indexes["qa"].recall
    assert (recall.source, recall.probes, recall.target) == ("queries", 1, 0.9)
    (part,) = kept.caches["qa: probes"].partitions
    probes = np.load(next(Path(recipe["memory"], file.path) for file in part.files if file.path.endswith(".npy")))
    assert np.array_equal(probes, normalize(Hashed(24).encode(["where was ada born"])))
    write_jsonl(questions, [{"id": "a", "question": "Where was Ada born?"}])
    assert computed(build(recipe)) == {}


def test_a_file_of_questions_that_is_not_there_is_refused_before_any_work(recipe, inline, tmp_path):
    recipe["indexes"]["qa"]["queries"] = str(tmp_path / "q.jsonl")
    with pytest.raises(QueryError, match=r"q\.jsonl: cannot be read"):
        build(recipe)
    assert inline.computed == 0


def test_pairs_that_are_added_are_encoded_alone_and_answers_encode_nothing(recipe, file):
    build(recipe)
    assert computed(build(recipe)) == {}
    write_jsonl(file, [*PAIRS, {"id": "p8", "question": "What grows?", "answer": "Moss", "passage_id": "moss"}])
    assert reused(build(recipe), "embeddings/e/questions") == 3
    assert opened(recipe).retriever("qa").predict(["What grows?"]) == ["Moss"]
    changed = [pair | {"answers": ["Turin"]} if pair["id"] == "p1" else pair for pair in PAIRS]
    write_jsonl(file, changed)
    assert reused(build(recipe), "embeddings/e/questions") == 3
    assert opened(recipe).retriever("qa").search(["Where was Ada born"], 1).answers() == [
        [("Paris", "Turin", "london")]
    ]
    assert verify(recipe["memory"]).problems == []


def test_of_questions_with_their_answers_as_keys_those_are_encoded_again_whose_answers_change(recipe, file):
    recipe["indexes"] = {"qa": {"type": "qa", "key": "question_answer"}}
    build(recipe)
    found = opened(recipe).retriever("qa").search(["babbage"], 1)
    assert found.answers() == [[("Babbage",)]] and found.scores[0, 0] > 0
    write_jsonl(file, [*PAIRS[:3], PAIRS[3] | {"answer": "Lovelace"}])
    assert reused(build(recipe), "embeddings/e/question_answers") == 2, "those whose answers are the same"
    after = opened(recipe).retriever("qa").search(["babbage", "lovelace"], 1)
    assert after.answers()[1] == [("Lovelace",)] and after.scores[1, 0] > after.scores[0, 0]
    assert verify(recipe["memory"]).problems == []


def test_votes_have_the_vectors_of_answers_made_and_the_nearest_pair_has_not(recipe, file):
    vectors = "embeddings/e/question_answers"
    recipe["indexes"] = {"qa": {"type": "qa", "answer": "nearest"}}
    assert vectors not in {step.name for step in build(recipe).steps}
    shards = manifest(recipe["memory"]).indexes["qa"].shards
    recipe["indexes"]["qa"]["answer"] = "votes"
    assert computed(build(recipe)).keys() == {vectors}
    assert manifest(recipe["memory"]).indexes["qa"].shards == shards
    assert verify(recipe["memory"]).problems == []
    write_jsonl(file, [*PAIRS[:3], PAIRS[3] | {"answer": "Lovelace"}])
    assert reused(build(recipe), vectors) == 2, "those whose answers are the same"
    found = opened(recipe).retriever("qa").predictions(["engine lovelace"])
    assert found[0].answer == "Lovelace"
    assert found[0].confidence > opened(recipe).retriever("qa").predictions(["engine babbage"])[0].confidence
    recipe["indexes"]["qa"]["rounds"] = 2
    assert computed(build(recipe)) == {}
    assert vectors not in manifest(recipe["memory"]).tables, "chains have scores of their own"


def test_a_memory_may_have_pairs_alone(recipe):
    del recipe["source"], recipe["indexes"]
    build(recipe)
    memory = opened(recipe)
    assert memory.indexes == ["qa"] and memory.sql("SELECT count(*) FROM chunks").fetchall() == [(0,)]
    hits = memory.retriever("qa").search(["who designed the engine?", "Where?"], 9, where="TRUE")
    assert hits.pairs() == [[], []]
    (pair, *_), _ = memory.retriever("qa").search(["who designed the engine?", "Where?"], 2).pairs()
    assert (pair.question, pair.answers, pair.chunk, pair.sentence) == (
        "Who designed the engine?",
        ("Babbage",),
        None,
        "",
    )
    assert verify(recipe["memory"]).problems == []
    assert computed(build(recipe)) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qa_pairs": None}, r"indexes\.qa: needs question-answer pairs: add `qa_pairs: \{from: FILE\}`, or"),
        ({"qa_pairs": {"from": "x", "form": "x"}}, "form"),
        ({"source": None, "indexes": {"words": {"type": "bm25"}}}, r"indexes\.words: needs documents"),
        ({"indexes": {"qa": {"type": "qa", "metric": "l2"}}}, "metric"),
        ({"indexes": {"qa": {"type": "qa", "factory": "Flut"}}}, "factory 'Flut' is no FAISS index"),
        (
            {
                "source": None,
                "indexes": {
                    "both": {"type": "hybrid", "of": ["qa", "other"]},
                    "qa": {"type": "qa"},
                    "other": {"type": "qa", "factory": "SQ8"},
                },
            },
            r"indexes\.both: needs documents",
        ),
    ],
)
def test_a_recipe_that_cannot_be_built_is_refused(recipe, change, message):
    recipe.update(change)
    recipe = {key: value for key, value in recipe.items() if value is not None}
    with pytest.raises(RecipeError, match=message):
        build(recipe, dry_run=True)


_BEFORE = {"memory": True, "qa_pairs": True, "source": {"decontaminate"}}
"""What no recipe had when its hash was first taken."""


def test_a_recipe_without_pairs_keeps_its_hash(recipe):
    from pathlib import Path

    from mnemodex.schemas.manifest import fingerprint
    from mnemodex.schemas.recipe import parse_recipe

    del recipe["qa_pairs"], recipe["indexes"]
    parsed = parse_recipe(recipe, name="r", base=Path("/"))
    without = parsed.model_dump(mode="json", by_alias=True, exclude=_BEFORE)
    assert parsed.hash() == fingerprint(without)


QUERIES = [
    {"id": "a", "question": "Where was Ada born?", "answers": ["london"]},
    {"id": "b", "question": "who designed the engine", "answers": ["Charles Babbage"]},
    {"id": "c", "question": "what did ada write", "answers": ["letters"]},
    {"id": "d", "question": "?", "answers": ["x"]},
    {"id": "e", "question": "What is asked without an answer?"},
]


class TestCommands:
    @pytest.fixture
    def memory(self, recipe):
        # The command line opens encoders by their names.
        recipe["embed"] = {"minilm": {}}
        mnemodex.build(recipe)
        return recipe["memory"]

    def test_search_shows_question_answers_score_and_the_source_sentence(self, cli, memory):
        ran = cli("search", memory, "qa", "where was ada born", "-k", 1)
        heading, question, answers, source = filter(None, ran.out.splitlines())
        assert heading == "where was ada born"
        assert question.split() == ["1", "1.0000", "Where", "was", "Ada", "born?"]
        assert (answers.strip(), source.strip()) == ("London; Paris", "[ada] She was born in London.")
        ran = cli("search", memory, "qa", "where was ada born", "who designed engines", "-k", 1, "--json")
        (first,), (second,) = json.loads(ran.out)["hits"]
        assert (first["question"], first["answers"], first["key"]) == (
            "Where was Ada born?",
            ["London", "Paris"],
            "ada",
        )
        assert (second["answers"], second["key"], second["text"]) == (["Babbage"], None, None)

    def test_eval_measures_one_answer_and_those_of_the_first_pairs(self, cli, memory, tmp_path):
        queries = write_jsonl(tmp_path / "queries.jsonl", QUERIES)
        ran = cli(
            "eval", memory, "qa", "--queries", queries, "-k", 10, "--json", "--per-query", tmp_path / "each.jsonl"
        )
        result = json.loads(ran.out)
        assert (result["queries"], result["queries_without_answers"], result["k"]) == (4, 1, 10)
        # Of b one word of two is there; of c the second answer is right; d has no prediction.
        expected = {
            "EM": 0.25,
            "F1": (1 + 2 / 3) / 4,
            "hits@1": 0.5,
            "hits@10": 0.5,
            "coverage": 0.75,
            "EM@coverage": 1 / 3,
        }
        assert result["metrics"] == pytest.approx(expected)
        assert result["seconds_per_1000"] == pytest.approx(1000 * result["seconds"] / 4)
        each = [json.loads(line) for line in (tmp_path / "each.jsonl").read_text().splitlines()]
        assert [row["answer"] for row in each] == ["London", "Babbage", "NOTES", None]
        assert "1 queries without answers are left out" in ran.err

    def test_queries_without_answers_are_refused(self, cli, memory, tmp_path):
        queries = write_jsonl(tmp_path / "queries.jsonl", QUERIES[-1:])
        ran = cli("eval", memory, "qa", "--queries", queries)
        assert ran.code == 2 and "no query has answers" in ran.err
        ran = cli("eval", memory, "qa", "--queries", queries, "--run", tmp_path / "run")
        assert ran.code == 2 and "--run is not for it" in ran.err
