"""Rounds of rewrites: the cap, one call of the encoder a round, the budget, and what it leaves out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from bridge_space import HandSpace

from mnemodex.retrievers.graph.asking import Asker, Rewrite
from mnemodex.retrievers.graph.bridge import Bridge, BridgeLite
from mnemodex.retrievers.graph.budget import Budget, Pace
from mnemodex.retrievers.graph.parsing import Parser, find_parser
from mnemodex.retrievers.graph.rounds import Parts

PASSAGES = [
    ("Blue Song", "Blue Song was sung by Lorna Ward."),
    ("Lorna Ward", "Lorna Ward was born in Oslo."),
    ("Oslo", "Oslo is the largest harbour."),
    ("", "the price of fish."),
]
FACTS = {
    0: [("blue song", "sung by", "lorna ward")],
    1: [("lorna ward", "born in", "oslo")],
    2: [("oslo", "is", "largest harbour")],
}
QUESTION = "How large is the birthplace of the singer of Blue Song?"
TWO = "Who is older, Lorna Ward or Oslo?"


class CountingSpace(HandSpace):
    """Keeps the texts of each call of the encoder."""

    calls = None

    def encode(self, texts):
        if self.calls is not None:
            self.calls.append(list(texts))
        return super().encode(texts)


@pytest.fixture(scope="module")
def parser():
    return find_parser("clauses", None)


def ask(space, method, *questions):
    vectors = space.encode(questions)
    space.calls = []
    return method.score(space, questions, vectors)


def test_clauses_are_asked_and_replaced_in_place_round_by_round(parser):
    space = CountingSpace(PASSAGES, FACTS)
    answer = ask(space, Bridge(parser=parser), QUESTION)
    first, second, third, fourth = space.calls
    assert "the singer of Blue Song" in first
    assert "How large is the birthplace of lorna ward?" in second
    assert "the birthplace of lorna ward" in third
    assert "How large is oslo?" in fourth
    texts = [text for text, _ in answer.activations[0].rewrites]
    assert texts == [*first, *second, *third, *fourth] and len(set(map(str.casefold, texts))) == len(texts)


def test_a_batch_takes_as_few_calls_of_the_encoder_as_it_has_rounds(parser):
    space = CountingSpace(PASSAGES, FACTS)
    method = Bridge(parser=parser)
    questions = [QUESTION, TWO, "the price of fish", ""]
    answer = ask(space, method, *questions)
    assert len(space.calls) == 4
    for row, question in enumerate(questions):
        alone = ask(space, method, question)
        np.testing.assert_allclose(answer.scores[row], alone.scores[0], rtol=1e-5)
        pairs = zip(answer.activations[row].rewrites, alone.activations[0].rewrites, strict=True)
        assert all(together[0] == own[0] and together[1] == pytest.approx(own[1]) for together, own in pairs)


def test_a_question_with_one_name_of_a_pair_finds_facts_and_gives_no_score():
    space = CountingSpace(PASSAGES, FACTS)
    answer = ask(space, Bridge(), TWO)
    first, second = space.calls
    assert {"Who is older, Lorna Ward?", "Who is older, Oslo?"} <= set(first)
    texts = [text for text, _ in answer.activations[0].rewrites]
    assert not {"Who is older, Lorna Ward?", "Who is older, Oslo?"} & set(texts)
    assert "Who is older, blue song?" in second and "Who is older, largest harbour?" in texts


@pytest.mark.parametrize(
    ("parts", "rounds"),
    [
        (Parts(), 4),
        (Parts(second=False), 2),
        (Parts(pairs=False), 4),
        (Parts(clauses=False), 2),
        (Parts(clauses=False, pairs=False), 1),
    ],
)
def test_each_part_can_be_left_out(parts, rounds, parser):
    space = CountingSpace(PASSAGES, FACTS)
    ask(space, Bridge(parser=parser, parts=parts), QUESTION, TWO)
    assert len(space.calls) == rounds


@pytest.mark.parametrize("behind", [0.0, 0.04])
def test_scores_are_those_of_the_plain_version(behind):
    random = np.random.default_rng(3)
    space = HandSpace([("", " ".join(random.choice(list("abcdefg"), 3))) for _ in range(20)])
    questions = ["a b", "c d e"]
    dense = space.dense(space.encode(questions))
    scores, plain = dense.copy(), dense.copy()
    rewrites = [Rewrite(0, "f g", behind=behind), Rewrite(0, "a c", behind=behind), Rewrite(1, "b", behind=behind)]
    replies = Asker(space, scores).ask(rewrites)
    for rewrite, reply in zip(rewrites, replies, strict=True):
        row = 0.95 * space.dense(space.encode([rewrite.text]))[0]
        limit = dense[rewrite.question].max() - behind
        assert reply.cosine == pytest.approx(row.max())
        row -= max(0, row.max() - limit)
        assert reply.score == pytest.approx(row.max())
        plain[rewrite.question] = np.maximum(plain[rewrite.question], row)
    np.testing.assert_allclose(scores, plain, rtol=1e-5)


def test_what_was_asked_is_not_asked_again():
    space = CountingSpace(PASSAGES)
    asker = Asker(space, np.zeros((2, 4), np.float32))
    assert len(asker.ask([Rewrite(0, "fish"), Rewrite(0, "Fish"), Rewrite(0, ""), Rewrite(1, "fish")])) == 2
    assert asker.ask([Rewrite(0, "FISH")]) == []


class Clock:
    """A clock on which each text that is encoded takes 10 ms."""

    def __init__(self, monkeypatch, space):
        self.now = 0.0
        own = space.encode

        def encode(texts):
            self.now += 0.01 * len(texts)
            return own(texts)

        space.encode = encode
        monkeypatch.setattr("time.perf_counter", lambda: self.now)


def test_a_budget_leaves_out_the_last_rewrites_and_rounds_and_says_so(monkeypatch, parser):
    space = HandSpace(PASSAGES, FACTS)
    whole = ask(space, Bridge(parser=parser), QUESTION).activations[0]
    assert whole.left_out == []
    Clock(monkeypatch, space)
    for count in range(1, len(whole.rewrites)):
        cut = ask(space, Bridge(parser=parser, budget_ms=10 * count + 1), QUESTION).activations[0]
        assert len(cut.rewrites) == count
        assert [text for text, _ in cut.rewrites][:1] == [text for text, _ in whole.rewrites][:1]
        assert cut.left_out and all(f"as budget_ms is {10 * count + 1}" in what for what in cut.left_out)
    enough = ask(space, Bridge(parser=parser, budget_ms=10_000), QUESTION).activations[0]
    assert enough == whole


def test_a_budget_is_shared_by_the_questions_of_a_batch(monkeypatch):
    space = HandSpace(PASSAGES)
    clock = Clock(monkeypatch, space)
    pace = Pace()
    budget = Budget(21, 2, pace)
    asker = Asker(space, np.zeros((2, 4), np.float32), budget=budget)
    rewrites = [Rewrite(0, text) for text in "abcdef"] + [Rewrite(1, text) for text in "gh"]
    replies = asker.ask(rewrites)
    assert sorted(reply.rewrite.text for reply in replies) == ["a", "b", "g", "h"]
    assert pace.seconds == pytest.approx(0.01) and clock.now == pytest.approx(0.04)
    assert asker.left_out(0) == ["4 of the rewrites of round 1, as budget_ms is 21"]
    assert asker.left_out(1) == []


def test_the_lite_bridge_keeps_a_budget_too(monkeypatch):
    space = HandSpace(PASSAGES)
    whole = ask(space, BridgeLite(), QUESTION).activations[0]
    Clock(monkeypatch, space)
    cut = ask(space, BridgeLite(budget_ms=11), QUESTION).activations[0]
    assert len(cut.rewrites) == 1 < len(whole.rewrites)
    assert cut.left_out == [f"{len(whole.rewrites) - 1} of the rewrites of round 1, as budget_ms is 11"]


def test_every_combination_of_parts_takes_any_question(parser):
    space = HandSpace(PASSAGES, FACTS)
    questions = ["", "(((", "Ada or", "or and or", QUESTION, TWO, "東方红 or 黄河?", "Ada and Bob " * 400]
    for flags in itertools.product([False, True], repeat=4):
        parts = Parts(*flags)
        scores = ask_plain(space, Bridge(parser=parser, parts=parts), questions)
        assert np.isfinite(scores).all()


def ask_plain(space, method, questions):
    return method.score(space, questions, space.encode(questions)).scores


def test_a_parser_that_is_missing_is_reported_for_each_question():
    space = HandSpace(PASSAGES, FACTS)
    parser = Parser(None, "clauses: spaCy model 'm': is not installed")
    for activation in ask(space, Bridge(parser=parser), QUESTION, TWO).activations:
        assert activation.left_out == [parser.missing]
    (activation,) = ask(space, Bridge(parser=parser, parts=Parts(clauses=False)), QUESTION).activations
    assert activation.left_out == []
