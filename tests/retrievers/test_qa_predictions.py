"""One answer of many pairs: votes, how sure they are, and what is chosen where they are equal."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemodex.retrievers.qa.hits import PairHits
from mnemodex.retrievers.qa.predictions import NO_PREDICTION, VOTERS, choose, vote
from mnemodex.retrievers.readers.answers import normalize_answer


def found(rows, table):
    """Hits of each query as pairs of a question's number and a score, best first; `table` holds both."""
    width = max((len(row) for row in rows), default=0)
    ids, scores = np.full((len(rows), width), -1), np.full((len(rows), width), -np.inf, np.float32)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = [question for question, _ in row]
        scores[number, : len(row)] = [score for _, score in row]
    nowhere = np.full(ids.shape, -1)
    columns = pa.table({"question": [row[0] for row in table], "answers": [row[1] for row in table]})
    return PairHits(
        ids,
        scores,
        nowhere.astype(np.int32),
        nowhere,
        (),
        None,
        kind="pair",
        read=lambda ids: columns.take(pa.array(ids)),
    )


def test_pairs_outvote_a_nearer_one_and_the_answer_is_written_as_the_nearest_of_them_writes_it():
    table = [("Where is it?", ["Rome"]), ("Where was it?", ["the Turin!", "x"]), ("Where will it be?", ["Turin"])]
    (prediction,) = vote(found([[(0, 0.8), (1, 0.79), (2, 0.78)]], table), ["where is this"])
    assert (prediction.answer, prediction.pair.rank, prediction.pair.question_id) == ("the Turin!", 2, 1)
    assert (prediction.pair.question, prediction.pair.answers) == ("Where was it?", ("the Turin!", "x"))
    (nearest,) = choose(found([[(0, 0.8), (1, 0.79), (2, 0.78)]], table))
    assert (nearest.answer, nearest.confidence) == ("Rome", pytest.approx(0.8))


def test_a_pair_that_begins_with_the_word_of_the_query_weighs_more():
    table = [("Who was born in Bern?", ["Ann"]), ("Where was Bo born?", ["Bern"])]
    row = [(0, 0.8), (1, 0.75)]
    who, where, other = vote(found([row] * 3, table), ["WHO was it", "where was it?", "was it"])
    assert (who.answer, where.answer, other.answer) == ("Ann", "Bern", "Ann")
    assert who.confidence > other.confidence


def test_votes_are_surer_of_near_pairs_and_of_more_of_them():
    table = [("a b", ["x"]), ("a c", ["x"]), ("a d", ["y"])]
    rows = [[(0, 1.0)], [(0, 0.6)], [(0, 0.6), (1, 0.6)], [(0, 0.6), (2, 0.6)], [(0, -1.0)]]
    near, far, two, against, farther = (prediction.confidence for prediction in vote(found(rows, table), ["a"] * 5))
    assert 1 > near > two > far > against > farther > 0


def test_equal_votes_give_the_first_answer_of_the_nearest_pair_and_no_pair_gives_none():
    table = [("a", ["x", "y"]), ("b", ["z"])]
    first, none = vote(found([[(0, 0.5), (1, 0.5)], []], table), ["a", "b"])
    assert (first.answer, none) == ("x", NO_PREDICTION)
    assert vote(found([[], []], table), ["a", "b"]) == [NO_PREDICTION, NO_PREDICTION]
    assert vote(found([], table), []) == []


ANSWERS = st.lists(st.sampled_from(["Rome", "Turin", "Bern", "x"]), min_size=1, max_size=3, unique=True)
QUESTIONS = st.sampled_from(["Who is it?", "where is it", "¿Dónde?", "who"])


@given(st.data())
def test_votes_are_those_that_a_plain_count_gives(data):
    table = data.draw(st.lists(st.tuples(QUESTIONS, ANSWERS), min_size=1, max_size=VOTERS + 5))
    queries = data.draw(st.lists(QUESTIONS, max_size=3))
    rows = []
    for _ in queries:
        numbers = data.draw(st.lists(st.integers(0, len(table) - 1), unique=True))
        scores = data.draw(st.lists(st.floats(-1, 1, width=16), min_size=len(numbers), max_size=len(numbers)))
        rows.append(list(zip(numbers, sorted(scores, reverse=True), strict=True)))

    def first_word(text):
        return text.lower().strip("?").split()[0]

    for query, row, prediction in zip(queries, rows, vote(found(rows, table), queries), strict=True):
        weights = [
            math.exp(11 * score + (first_word(table[number][0]) == first_word(query))) for number, score in row[:VOTERS]
        ]
        total = sum(weights) + math.exp(10)
        votes = {}
        for (number, _), weight in zip(row[:VOTERS], weights, strict=True):
            for answer in table[number][1]:
                form = normalize_answer(answer)
                votes[form] = votes.get(form, 0) + weight / total
        if not votes:
            assert prediction == NO_PREDICTION
            continue
        most = max(votes.values())
        assert prediction.confidence == pytest.approx(most)
        assert votes[normalize_answer(prediction.answer)] == pytest.approx(most)
