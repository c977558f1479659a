"""Calibrated abstention: a build chooses the threshold below which an index of pairs does not answer."""

from __future__ import annotations

import numpy as np
import pytest
from builds import computed, manifest
from library import write_jsonl, write_parts
from passed_objects import Hashed

import mnemodex
from mnemodex.pipelines.verify import verify
from mnemodex.retrievers.qa.evaluation import evaluate_answers
from mnemodex.retrievers.queries import read_queries
from mnemodex.schemas.errors import QueryError, RecipeError

pytestmark = pytest.mark.usefixtures("inline")

WORDS = [f"animal{number}" for number in range(20)]
ENCODER = Hashed(256, seed=8)
"""No two of the words have one place in its vectors."""
PAIRS = [{"id": word, "question": f"What does the {word} eat?", "answer": f"food of {word}"} for word in WORDS]


def asked(number):
    """A question as the memory has it, or, of every second animal, one that is only like it and has another answer."""
    word = WORDS[number]
    if number % 2 == 0:
        return {"id": word, "question": f"what does the {word} eat", "answers": [f"Food of {word}!"]}
    return {"id": word, "question": f"where would a {word} rather sleep", "answers": ["nowhere"]}


ASKED = list(map(asked, range(20)))


@pytest.fixture
def recipe(tmp_path):
    return {
        "source": {"path": str(write_parts(tmp_path / "notes", [{"id": "a", "title": "A", "text": "Animals."}], 1))},
        "memory": str(tmp_path / "memory"),
        "embed": {"e": {}},
        "qa_pairs": {"from": str(write_jsonl(tmp_path / "pairs.jsonl", PAIRS))},
        "indexes": {"qa": {"type": "qa", "abstain": {"queries": str(asked_file(tmp_path, ASKED)), "coverage": 0.5}}},
    }


def asked_file(folder, rows):
    return write_jsonl(folder / "asked.jsonl", rows)


def build(recipe, **options):
    return mnemodex.build(recipe, encoders={"e": ENCODER}, **options)


def opened(recipe):
    return mnemodex.open(recipe["memory"], encoders={"e": ENCODER})


def test_what_is_less_sure_than_the_threshold_gets_no_answer(recipe):
    result = build(recipe)
    assert result.warnings == []
    (note,) = [step.note for step in result.steps if step.name == "qa: calibration"]
    assert note.startswith("of 20 questions it answers 0.500, 0.000 of them wrong (95 % interval 0.000 to 0.3")
    predicted = opened(recipe).retriever("qa").predictions([query["question"] for query in ASKED])
    assert [one.answer for one in predicted[::2]] == [f"food of {word}" for word in WORDS[::2]]
    assert [one.answer for one in predicted[1::2]] == [None] * 10
    assert all(one.declined and one.pair for one in predicted[1::2])
    known = manifest(result.memory).indexes["qa"].abstention
    assert (known.queries, known.answered, known.coverage, known.risk) == (20, 10, 0.5, 0.0)
    assert min(one.confidence for one in predicted[::2]) > known.threshold
    assert verify(recipe["memory"]).problems == []


def test_the_curve_is_a_table_and_evaluation_gives_the_same(recipe, tmp_path):
    build(recipe)
    memory = opened(recipe)
    columns = "threshold, coverage, risk"
    rows = memory.sql(f"SELECT {columns} FROM calibration_qa ORDER BY threshold DESC").fetchall()
    measured = evaluate_answers(memory.retriever("qa"), read_queries(tmp_path / "asked.jsonl"), k=1)
    points = measured.abstention["risk_coverage"]
    np.testing.assert_allclose([tuple(point.values()) for point in points], rows)
    assert rows[-1][1:] == (1.0, 0.5)
    assert measured.abstention["AUROC"] == 1.0
    assert (measured.metrics["coverage"], measured.metrics["EM@coverage"], measured.metrics["EM"]) == (0.5, 1.0, 0.5)


def test_the_filter_of_a_question_is_heeded(recipe, tmp_path):
    # No pair has a passage, so that none is found with a filter.
    rows = [row if number % 2 == 0 else {**row, "where": "true"} for number, row in enumerate(ASKED)]
    asked_file(tmp_path, rows)
    build(recipe)
    memory = opened(recipe)
    assert memory.sql("SELECT max(coverage), max(risk) FROM calibration_qa").fetchall() == [(0.5, 0.0)]
    measured = evaluate_answers(memory.retriever("qa"), read_queries(tmp_path / "asked.jsonl"), k=1)
    assert measured.abstention["risk_coverage"][-1]["coverage"] == 0.5


def test_show_tells_the_threshold_with_its_coverage_and_risk(recipe, cli):
    known = manifest(build(recipe).memory).indexes["qa"].abstention
    assert cli("show", recipe["memory"], "qa", "--json").json["abstention"] == known.model_dump()
    lines = [line.split() for line in cli("show", recipe["memory"], "qa").out.splitlines()]
    for name in ("threshold", "coverage", "risk"):
        assert [name, str(getattr(known, name))] in [[word for word in line if word.isascii()] for line in lines]


def test_a_risk_is_kept_at_the_largest_coverage(recipe):
    recipe["indexes"]["qa"]["abstain"] = {**recipe["indexes"]["qa"]["abstain"], "risk": 0.3, "coverage": None}
    result = build(recipe)
    known = manifest(result.memory).indexes["qa"].abstention
    risks = opened(recipe).sql("SELECT max(coverage) FROM calibration_qa WHERE risk <= 0.3").fetchall()
    assert known.risk <= 0.3
    assert risks == [(known.coverage,)]


def test_only_the_calibration_depends_on_the_aim_and_it_goes_with_it(recipe):
    build(recipe)
    first = manifest(recipe["memory"]).indexes["qa"]
    recipe["indexes"]["qa"]["abstain"]["coverage"] = 1.0
    assert computed(build(recipe)) == {"qa: calibration": 1}
    assert manifest(recipe["memory"]).indexes["qa"].abstention.answered == 20
    assert build(recipe).committed is False
    del recipe["indexes"]["qa"]["abstain"]
    result = build(recipe)
    assert computed(result) == {}
    last = manifest(recipe["memory"])
    assert last.indexes["qa"].shards == first.shards
    assert last.indexes["qa"].abstention is None
    assert "calibration/qa" not in last.tables


def test_new_pairs_calibrate_again(recipe, tmp_path):
    build(recipe)
    new = {"id": "x", "question": "Where would a animal1 rather sleep?", "answer": "nowhere"}
    write_jsonl(
        tmp_path / "pairs.jsonl",
        [*PAIRS, new],
    )
    assert "qa: calibration" in computed(build(recipe))
    assert opened(recipe).retriever("qa").predict(["where would a animal1 rather sleep"]) == ["nowhere"]


def test_few_questions_and_those_without_answers_are_told(recipe, tmp_path):
    asked_file(tmp_path, [*ASKED[:4], {"id": "none", "question": "Why?"}])
    first, second = build(recipe).warnings
    assert first == f"indexes.qa.abstain: 1 questions of {tmp_path}/asked.jsonl have no answers"
    assert "asked.jsonl has 4 questions with answers, too few for a threshold that holds for others" in second


@pytest.mark.parametrize(
    ("abstain", "message"),
    [
        ({"coverage": 0.5, "risk": 0.5}, "give either `coverage`, the part that is answered, or `risk`"),
        ({"coverage": None}, "give either `coverage`, the part that is answered, or `risk`"),
        ({"coverage": 1.5}, r"indexes\.qa\.abstain\.coverage"),
    ],
)
def test_one_aim_is_given(recipe, abstain, message):
    recipe["indexes"]["qa"]["abstain"] |= abstain
    with pytest.raises(RecipeError, match=message):
        build(recipe)


@pytest.mark.parametrize(
    ("rows", "abstain", "message"),
    [
        (
            [{"id": "1", "question": "Why?"}],
            {},
            r"\.abstain\.queries: .*asked\.jsonl: no question has answers",
        ),
        ([{"id": "1", "question": "?", "answers": ["x"]}], {}, r"none of the 1 questions of .* finds a pair"),
        (
            ASKED[1::2],
            {"coverage": None, "risk": 0.1},
            r"no threshold has a risk of 0\.1: the least is 1\.000",
        ),
    ],
)
def test_a_file_that_gives_no_threshold_is_refused(recipe, tmp_path, rows, abstain, message):
    asked_file(tmp_path, rows)
    recipe["indexes"]["qa"]["abstain"] |= abstain
    with pytest.raises(QueryError, match=message):
        build(recipe)
