"""How right answers are, and the shape in which HippoRAG takes hits."""

from __future__ import annotations

import numpy as np
import pytest

from mnemodex.retrievers.hits import Chunk
from mnemodex.retrievers.readers.answers import (
    Answered,
    evaluate,
    exact_match,
    f1,
    normalize_answer,
    to_query_solutions,
    unanswered,
)
from mnemodex.schemas.errors import QueryError

HITS = [
    Chunk(1, 0.9, 11, 1, "a", "Olme", "Olme lies by the sea.", 0, 10),
    Chunk(2, 0.5, 12, 2, "b", "", "No title here.", 0, 10),
]


def answered(answer):
    return Answered("?", answer, "", [])


def test_answers_are_compared_without_case_articles_and_punctuation():
    assert normalize_answer("The  U.S., an Area — a\tone") == "us area — one"
    assert exact_match("the River Aske!", ["Aske", "river aske"]) == 1.0
    assert exact_match("River", ["River Aske"]) == 0.0
    assert f1("the big River Aske", ["River Aske"]) == pytest.approx(2 * (2 / 3) * 1 / (2 / 3 + 1))
    assert f1("aske aske", ["Aske"]) == pytest.approx(2 / 3)
    assert f1("other", ["River Aske", "sea"]) == 0.0
    assert f1("Маяк на мысе", ["маяк"]) == pytest.approx(0.5)


def test_questions_without_gold_are_left_out_and_missing_answers_are_wrong():
    scores = evaluate([answered("Aske"), answered(None), answered("x")], [["Aske"], ["y"], []])
    assert (scores.exact_match, scores.f1) == (0.5, 0.5)
    assert (scores.questions, scores.without_gold, scores.unanswered) == (2, 1, 1)
    assert scores.to_json()["metrics"] == {"EM": 0.5, "F1": 0.5}


def test_no_gold_at_all_and_gold_of_other_questions_are_refused():
    with pytest.raises(QueryError, match="no question has gold"):
        evaluate([answered("x")], [[]])
    with pytest.raises(QueryError, match="1 questions, but gold answers of 2"):
        evaluate([answered("x")], [["a"], ["b"]])


def test_solutions_have_the_fields_of_hipporag():
    one = Answered("Where?", "sea", "It lies there.", HITS)
    (solution,) = to_query_solutions([one], gold_answers=[["the sea"]], gold_docs=[["Olme\nOlme lies by the sea."]])
    assert list(solution) == ["question", "docs", "doc_scores", "answer", "gold_answers", "gold_docs"]
    assert solution["docs"] == ["Olme\nOlme lies by the sea.", "No title here."]
    assert solution["doc_scores"].dtype == np.float32
    assert solution["doc_scores"].tolist() == pytest.approx([0.9, 0.5])
    assert solution["gold_docs"] == [solution["docs"][0]]
    (bare,) = to_query_solutions([one])
    assert bare["gold_answers"] is None and bare["gold_docs"] is None


def test_hits_of_any_retriever_become_solutions_that_wait_for_an_answer(memory):
    questions = ["lighthouse keeper", "rye bread"]
    hits = memory.retriever("words").search(questions, 3)
    solutions = to_query_solutions(unanswered(questions, hits))
    assert [solution["question"] for solution in solutions] == questions
    assert [len(solution["docs"]) for solution in solutions] == [3, 3]
    assert all(solution["answer"] is None for solution in solutions)
    np.testing.assert_array_equal([solution["doc_scores"] for solution in solutions], hits.scores)
