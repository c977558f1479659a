"""Pairs of names, and what may take the place of a phrase."""

from __future__ import annotations

import pytest

from mnemodex.indexers.graph.words import WordCounts
from mnemodex.retrievers.graph.pairs import pair_of
from mnemodex.retrievers.graph.space import Passage
from mnemodex.retrievers.graph.substitution import fact_ends, names_near

COUNTS = WordCounts.of(["the city museum", "the song", "a singer of the song", "the"])


@pytest.mark.parametrize(
    ("question", "names", "replaced"),
    [
        ("Which film is older, Alien or Jaws?", ("Alien", "Jaws"), "Which film is older, X?"),
        ("Are Alien and the film Jaws both long?", ("Alien", "Jaws"), "Are X both long?"),
        ("In Rome, did Ada or Bob sing?", ("Ada", "Bob"), "In Rome, did X sing?"),
        ("Did Ada and Bob or Cy sing?", ("Bob", "Cy"), "Did Ada and X sing?"),
    ],
)
def test_the_last_two_names_with_or_or_and_between_them_are_a_pair(question, names, replaced):
    pair = pair_of(question)
    assert pair.names == names
    assert pair.replaced("X") == replaced


@pytest.mark.parametrize(
    "question",
    [
        "",
        "Who sang Alien?",
        "Did Ada hear Bob?",
        "Is Ada who sang and danced all the night like Bob?",
        "ada or bob",
    ],
)
def test_other_questions_have_none(question):
    assert pair_of(question) is None


def test_the_other_ends_of_a_phrases_facts_take_its_place():
    facts = [
        ("blue song", "sung by", "lorna ward"),
        ("oslo", "home of", "blue song"),
        ("blue song", "came in", "june 1999"),
        ("blue song", "of", "1999"),
        ("green song", "sung by", "rita"),
        ("blue song", "asked by", "king"),
        ("blue song", "sung by", "Lorna Ward"),
        ("blue song", "sold to", "peter"),
    ]
    question = "Which king met the singer of Blue Song?"
    ends = fact_ends(facts, "the singer of Blue Song", question, COUNTS, most=2)
    assert ends == ["lorna ward", "oslo"]
    assert fact_ends(facts, "the singer of Blue Song", question, COUNTS, most=9) == ["lorna ward", "oslo", "peter"]


def test_the_end_may_have_to_be_most_of_the_phrase():
    facts = [("blue", "is", "colour"), ("blue song", "sung by", "lorna ward")]
    assert fact_ends(facts, "Blue Northern Song", "Who?", COUNTS, most=3) == ["colour", "lorna ward"]
    assert fact_ends(facts, "Blue Northern Song", "Who?", COUNTS, most=3, holds=0.5) == ["lorna ward"]


def test_names_come_from_sentences_with_the_mention_or_with_its_title():
    passages = [
        Passage("", "Rita slept. Lorna Ward sang Blue Song. Peter left."),
        Passage("Blue Song (film)", "Cy made it."),
    ]
    names = names_near(passages, "Blue Song", "Who sang Blue Song?", COUNTS, most=5)
    assert names == ["Lorna Ward", "Cy"]
    assert names_near(passages, "Blue Song", "Who sang Blue Song?", COUNTS, most=1) == ["Lorna Ward"]
