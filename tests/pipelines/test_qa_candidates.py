"""Candidates for pairs: which of a chunk are none, and why."""

from __future__ import annotations

import pytest

from mnemodex.pipelines.qa import candidates as module
from mnemodex.pipelines.qa.candidates import judge
from mnemodex.pipelines.qa.generators.base import Candidate, Span

TEXT = "Ada wrote the notes in 1843. Who read them? Nobody."


def candidate(question, answer, *, start=None):
    start = TEXT.index(answer) if start is None else start
    return Candidate(question, Span(start, start + len(answer), "word"))


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (candidate("Who wrote notes?", "Ada"), None),
        (candidate("", "Ada"), module.NO_QUESTION),
        (candidate(" ?? ", "Ada"), module.NO_QUESTION),
        (candidate("1843?", "Ada"), module.NO_QUESTION),
        (candidate(f"answer: Ada | context: {TEXT}", "Ada"), module.ECHO),
        (candidate("wrote the Notes", "Ada"), module.ECHO),
        (candidate("Who read them?", "Nobody"), None),
        (candidate("Who wrote notes?", "Ada", start=-1), module.NO_ANSWER),
        (candidate("Who wrote notes?", "Ada", start=len(TEXT) - 2), module.NO_ANSWER),
        (candidate("Who wrote notes?", "", start=3), module.NO_ANSWER),
        (candidate("Who wrote notes?", "the"), module.EMPTY_ANSWER),
        (candidate("Was it ada who wrote?", "Ada"), module.GIVEN_AWAY),
        (candidate("What did Ada write?", "the notes"), None),
        (candidate("Who wrote footnotes?", "the notes"), None),
        (candidate("Who took the Notes in it?", "notes"), module.GIVEN_AWAY),
    ],
)
def test_what_is_unusable_has_a_reason(made, reason):
    ((_, answer, found),) = judge([made], TEXT, 8)
    assert found == reason
    assert answer in TEXT and (answer or reason == module.NO_ANSWER)


def test_repeats_are_dropped_and_the_best_are_kept():
    given = [
        candidate("Who wrote notes?", "Ada"),
        candidate("who wrote  notes", "Ada"),
        candidate("Who wrote notes?", "Nobody"),
        candidate("?", "Ada"),
        candidate("When did she write?", "1843"),
        candidate("Who wrote notes?", "Ada"),
    ]
    reasons = [None, module.REPEATED, None, module.NO_QUESTION, module.BEYOND, module.REPEATED]
    assert [one.reason for one in judge(given, TEXT, 2)] == reasons
    assert judge([], TEXT, 2) == []
