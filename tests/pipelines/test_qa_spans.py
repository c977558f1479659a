"""Possible answers of chunks: of spaCy, and of a model."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_models import saved

from mnemodex.pipelines.qa.generators.base import Passage
from mnemodex.pipelines.qa.generators.spans import SpacyFinder, SpanFinder
from mnemodex.schemas.pair_sections import AnswerSpans

pytestmark = pytest.mark.usefixtures("one_thread")

WORK = SimpleNamespace(cpus=1)
TEXT = (
    "Radio Vienna was founded by Oskar Czeija in 1924. He kept the old transmitter of Radio Vienna in a wooden shed, "
    "which they painted twice."
)


def found(finder, text):
    (spans,) = finder.find([Passage("", text)])
    return [text[span.start : span.end] for span in spans]


@pytest.fixture(scope="module")
def spacy():
    return SpacyFinder(AnswerSpans(), WORK)


def test_names_come_before_values_and_these_before_noun_chunks(spacy):
    answers = found(spacy, TEXT)
    assert answers[:2] == ["Radio Vienna", "Oskar Czeija"] and answers.index("1924") < answers.index("old transmitter")
    assert "wooden shed" in answers and not {"He", "they", "which", "the old transmitter"} & set(answers)
    assert answers.count("Radio Vienna") == 1


def test_no_more_and_no_longer_than_asked_for():
    assert len(found(SpacyFinder(AnswerSpans(max_answers=2), WORK), TEXT)) == 2
    short = found(SpacyFinder(AnswerSpans(max_tokens=1), WORK), TEXT)
    assert "1924" in short and "Oskar Czeija" not in short


def test_a_long_chunk_is_read_to_its_end(spacy):
    text = "The harbour has moss on its walls. " * 700 + "Ottoline Marr was born in Dunmarrow."
    assert "Ottoline Marr" in found(spacy, text)


@settings(max_examples=40)
@given(text=st.text(alphabet=st.sampled_from("Ada Stone saw 12 ships in Rome.,\n\t'日本é$<\u200b"), max_size=120))
def test_answers_are_characters_of_the_chunk_that_do_not_overlap(spacy, text):
    (spans,) = spacy.find([Passage("", text)])
    assert all(a.end <= b.start or b.end <= a.start for a, b in combinations(spans, 2))
    for span in spans:
        inside = text[span.start : span.end]
        assert inside == inside.strip() and any(map(str.isalnum, inside))


def test_a_model_marks_answers_with_their_log_probability(tmp_path):
    name = saved("QuestionAnswering", tmp_path)
    finder = SpanFinder(AnswerSpans(by="model", model=name, max_answers=3, max_tokens=4), WORK)
    found, none = finder.find([Passage("", TEXT), Passage("Title alone", "")])
    assert len(found) == 3 and none == [] and all(span.kind == "span" and span.score < 0 for span in found)
