"""How much of a name is in a question, and the question without it."""

# ruff: noqa: RUF001 (full-width marks are what is tested)
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemodex.indexers.graph.words import WordCounts, forms
from mnemodex.retrievers.graph.mentions import Mentions

COUNTS = WordCounts.of(["the of is a"] * 20 + ["the cat"] * 4 + ["bill"] * 2)
WORDS = st.lists(st.sampled_from(["the", "of", "cat", "bill", "gates", "who", "北京", "大学", "Łódź"]), max_size=8)


@given(WORDS, WORDS)
def test_coverage_is_the_weighted_part_of_the_name(question, name):
    question, name = " ".join(question), " ".join(name)
    weight = COUNTS.weight(forms(name))
    total = sum(weight.values())
    expected = sum(weight[form] for form in forms(name) & forms(question)) / total if total else 0
    assert Mentions(question, COUNTS, [name]).coverage(name) == pytest.approx(expected)


@given(WORDS, WORDS, WORDS)
def test_without_a_name_a_question_keeps_all_other_words_in_order(before, name, after):
    question, name = " ".join([*before, *name, *after]), " ".join(name)
    left = Mentions(question, COUNTS, [name]).without(name).split()
    others = [word for word in question.split() if not forms(word) & forms(name)]
    assert [word for word in left if not forms(word) & forms(name)] == others
    assert len(left) < len(question.split()) or not name


@pytest.mark.parametrize(
    ("question", "name", "left"),
    [
        (
            "Who is the president of Journal of Cats's publisher?",
            "Journal of Cats",
            "Who is the president of publisher?",
        ),
        ("Are Bill Gates and Bill Clinton tall?", "Bill Gates", "Are and Bill Clinton tall?"),
        ("Is Gates richer than Gates?", "gates", "Is richer than ?"),
        ("北京大学在哪里？", "北京大学", "在哪里？"),
        ("東京タワーはどこ？", "東京タワー", "はどこ？"),
        ("서울은 어디?", "서울", "은 어디?"),
        ("Где родился Лев Толстой?", "Лев Толстой", "Где родился ?"),
        ("Who?", "nobody", "Who?"),
        ("Who?", "", "Who?"),
    ],
)
def test_a_mention_is_taken_out(question, name, left):
    assert Mentions(question, COUNTS, [name]).without(name) == left


@pytest.mark.parametrize(
    ("holders", "passages", "distinct"), [(10, 20, True), (11, 20, False), (20, 400, True), (21, 400, False)]
)
def test_a_name_is_distinct_by_a_word_that_few_passages_hold(holders, passages, distinct):
    counts = WordCounts.of(["gates"] * holders + ["of"] * (passages - holders))
    assert Mentions("who is gates", counts, ["gates"]).is_distinct("gates") == distinct
    assert Mentions("who is bill gates", counts, ["bill gates"]).is_distinct("bill gates")
    assert Mentions("who is bill", counts, ["bill gates"]).is_distinct("bill gates")
    assert not Mentions("who is bill", counts, ["bill and melinda gates"]).is_distinct("bill and melinda gates")
    assert not Mentions("who", counts, ["gates"]).is_distinct("gates")


def test_overlap_is_the_part_of_the_question_that_is_in_a_text():
    mentions = Mentions("the cat", COUNTS, [])
    assert mentions.overlap({"the", "cat", "dog"}) == pytest.approx(1)
    weight = COUNTS.weight(["the", "cat"])
    assert mentions.overlap({"cat"}) == pytest.approx(weight["cat"] / (weight["the"] + weight["cat"]))
    assert Mentions("?", COUNTS, []).overlap({"cat"}) == 0
