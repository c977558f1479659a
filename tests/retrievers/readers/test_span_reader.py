"""A reader that marks answers in passages."""

from __future__ import annotations

import pytest
from task_models import saved

from mnemodex.retrievers.readers.span_reader import SpanReader
from mnemodex.schemas.errors import NoAnswerError

pytestmark = pytest.mark.usefixtures("one_thread")

QUESTIONS = ["Who climbs the steps?", "Where is moss?", "What is said of nothing?"]
PASSAGES = [
    [("Keepers", "The keeper of Dunmarrow climbs two hundred steps."), ("", "Moss grows on the harbour wall. " * 20)],
    [("", "Moss grows on the harbour wall.")],
    [],
]


def test_answers_are_of_the_passages_and_the_same_alone_as_in_a_batch(tmp_path):
    reader = SpanReader(saved("QuestionAnswering", tmp_path))
    together = reader.read(QUESTIONS, PASSAGES)
    for question, passages, answer in zip(QUESTIONS, PASSAGES, together, strict=True):
        assert answer is None or any(answer in f"{title}\n{text}" for title, text in passages)
        assert reader.read([question], [passages]) == [answer]
    assert together[2] is None


def test_the_passage_whose_span_beats_no_answer_most_gives_the_answer(tmp_path):
    reader = SpanReader(saved("QuestionAnswering", tmp_path))
    marked = [
        reader._model.mark([f"{title}\n{text}" if title else text], QUESTIONS[:1], top=1, max_tokens=30)[0][0]
        for title, text in PASSAGES[0]
    ]
    best = max(range(2), key=lambda number: marked[number].margin)
    title, text = PASSAGES[0][best]
    whole = f"{title}\n{text}" if title else text
    (answer,) = reader.read(QUESTIONS[:1], PASSAGES[:1])
    expected = whole[marked[best].start : marked[best].end] if marked[best].margin > 0 else None
    assert answer == expected


def test_a_question_that_is_too_long_is_no_judgement(tmp_path):
    (answer,) = SpanReader(saved("QuestionAnswering", tmp_path)).read(["why " * 80], PASSAGES[:1])
    assert isinstance(answer, NoAnswerError) and "leaves no room" in str(answer)
