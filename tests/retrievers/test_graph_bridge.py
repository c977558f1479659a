"""Both bridges against plain versions, on graphs that are written out by hand; and what happens without a graph."""

# ruff: noqa: RUF001 (full-width marks are what is tested)
from __future__ import annotations

import numpy as np
import pytest
from bridge_space import HandSpace

from mnemodex.retrievers.graph.bridge import Bridge, BridgeLite
from mnemodex.retrievers.graph.ppr import Walker
from mnemodex.retrievers.graph.rounds import Parts

PASSAGES = [
    ("Blue Song", "Blue Song was sung by Lorna Ward."),
    ("Green Song", "the singer of Green Song was born far away."),
    ("Lorna Ward", "Lorna Ward grew up by the sea, and Lorna Ward was born in Oslo."),
    ("Where", "where it was, in the end, is not known."),
    ("", "the price of fish."),
]
FACTS = {
    0: [("blue song", "sung by", "lorna ward")],
    1: [("green song", "singer born", "far away")],
    2: [("lorna ward", "born in", "oslo")],
}
QUESTION = "Where was the singer of Blue Song born?"
REWRITE = "Where was the singer of born? lorna ward"


def ask(method, space, *questions):
    return method.score(space, questions, space.encode(questions))


def order(scores):
    return np.argsort(-scores, kind="stable").tolist()


def softmax(values):
    powers = np.exp((np.asarray(values, np.float64) - max(values)) / 0.05)
    return powers / powers.sum()


def walked(space, reset, *, facts=True):
    """Personalised PageRank by a linear system."""
    graph, weights = space.graph, np.zeros((space.graph.nodes, space.graph.nodes))
    rows = np.repeat(np.arange(graph.nodes), np.diff(graph.indptr))
    weights[rows, graph.indices] = graph.mention + facts * graph.fact
    strength = weights.sum(axis=1)
    steps = np.divide(weights, strength, out=np.zeros_like(weights), where=strength > 0)
    found = np.linalg.solve(np.eye(graph.nodes) - 0.5 * steps, 0.5 * reset)
    found = found[graph.entities :] / found.sum()
    return np.where(strength[graph.entities :] > 0, found, found * 4 / 3)


def ends(space, vector, count):
    """What each entity gets of the facts nearest to a vector."""
    cosines = space.fact_vectors @ vector
    near = np.argsort(-cosines, kind="stable")[:count]
    masses = np.zeros(space.graph.entities)
    for fact, weight in zip(near, softmax(cosines[near]), strict=True):
        for end in (space.graph.subjects[fact], space.graph.objects[fact]):
            masses[end] += weight / space.graph.entity_passages[end]
    return masses / masses.sum()


def capped(dense, behind=0.0):
    """The best score of each passage, of cosines to a question and then to its rewrites, which stay behind its best."""
    rewrites = 0.95 * dense[1:]
    above = np.maximum(rewrites.max(axis=1) - dense[0].max() + behind, 0)
    return np.maximum(dense[0], (rewrites - above[:, None]).max(axis=0))


def titled(cosines):
    """The question mentions the title of the first passage."""
    return cosines + 0.1 * (np.arange(len(cosines)) == 0)


def plain_bridge(space, question, rewrites):
    vectors = space.encode([question, *rewrites])
    dense = space.dense(vectors)
    cosines = titled(capped(dense))
    share = 0.6 * min(1, np.exp(((space.fact_vectors @ vectors[0]).max() - dense[0].max()) / 0.05))
    seeds = 0.7 * ends(space, vectors[0], 10) + 0.3 * np.mean([ends(space, v, 5) for v in vectors[1:]], axis=0)
    return walked(space, np.concatenate([share * seeds, (1 - share) * softmax(cosines)]))


def test_a_fact_leads_from_the_mention_to_the_passage_that_answers():
    space = HandSpace(PASSAGES, FACTS)
    answer = ask(Bridge(parts=Parts(titles=False)), space, QUESTION)
    assert 2 not in order(space.dense(space.encode([QUESTION]))[0])[:2]
    assert 2 in order(answer.scores[0])[:2]
    (activation,) = answer.activations
    assert activation.rewrites[0][0] == REWRITE
    best = space.dense(space.encode([QUESTION, REWRITE])).max(axis=1)
    assert activation.rewrites[0][1] == pytest.approx(min(best[0], 0.95 * best[1]))
    assert {fact for fact, _ in activation.facts} == {0, 1, 2}
    masses = [mass for _, mass in activation.entities]
    assert len(masses) == space.graph.entities and masses == sorted(masses, reverse=True) and sum(masses) < 1
    assert activation.fallback is None


@pytest.mark.parametrize("way", ["exact", "batched", "push"])
def test_scores_are_those_of_the_plain_version(way):
    space = HandSpace(PASSAGES, FACTS)
    answer = ask(Bridge(walker=Walker(way, synonym=0, epsilon=1e-9)), space, QUESTION)
    rewrites = [text for text, _ in answer.activations[0].rewrites]
    np.testing.assert_allclose(answer.scores[0], plain_bridge(space, QUESTION, rewrites), rtol=1e-3)


def test_a_batch_answers_as_its_questions_do_alone():
    space = HandSpace(PASSAGES, FACTS)
    questions = [QUESTION, "the price of fish", "", "Oslo?", "Who is Lorna Ward?"]
    for method in (Bridge(), BridgeLite()):
        together = ask(method, space, *questions)
        for row, question in enumerate(questions):
            alone = ask(method, space, question)
            np.testing.assert_allclose(together.scores[row], alone.scores[0], rtol=1e-5)
            assert [text for text, _ in together.activations[row].rewrites] == [
                text for text, _ in alone.activations[0].rewrites
            ]
        assert ask(method, space).scores.shape == (0, len(PASSAGES))


def test_at_most_five_rewrites_are_asked_facts_first():
    fan = {0: [("blue song", "sung by", f"singer {number}") for number in range(9)]}
    space = HandSpace(PASSAGES, fan)
    rewrites = [text for text, _ in ask(Bridge(), space, QUESTION).activations[0].rewrites]
    assert len(rewrites) == 5 and all("singer " in text.split("?")[1] for text in rewrites)


def test_sentences_bridge_where_no_fact_does():
    space = HandSpace(PASSAGES)
    for method in (Bridge(), BridgeLite()):
        answer = ask(method, space, QUESTION)
        assert answer.activations[0].rewrites[0][0].casefold() == REWRITE.casefold()
        assert answer.activations[0].fallback == "the graph has no edges"
        texts = [text for text, _ in answer.activations[0].rewrites]
        dense = space.dense(space.encode([QUESTION, *texts]))
        np.testing.assert_allclose(answer.scores[0], titled(capped(dense, behind=0.02)), rtol=1e-6)


def test_a_question_that_names_nothing_is_answered_by_the_cosines():
    passages = [("", f"the song of fish number {word} is old") for word in "abcdefghijklmnopqrstuvwxyz"]
    facts = {row: [("fish number", "is", "old")] for row in range(26)} | {3: [("blue song", "sung by", "lorna ward")]}
    space = HandSpace([*passages, *PASSAGES], facts)
    common, rare = "is the fish number d old", "is the blue song old"
    answer = ask(Bridge(), space, common, rare, common.capitalize().replace("fish", "Fish"))
    cosines = space.dense(space.encode([common]))[0]
    assert order(answer.scores[0]) == order(cosines)
    assert answer.activations[0].fallback == "the question names nothing, or only what many passages mention"
    assert not answer.activations[0].rewrites and not answer.activations[0].facts
    assert answer.activations[1].rewrites and answer.activations[1].fallback is None
    assert answer.activations[2].facts and answer.activations[2].fallback is None


@pytest.mark.parametrize("method", [Bridge(), BridgeLite()])
def test_a_passage_whose_title_the_question_mentions_comes_first(method):
    filler = [("", f"a ward of {word} in a town") for word in "abcdefghijklmnopqrst"]
    passages = [("Old Ward", "the ward of Lorna Ward"), ("Lorna Ward (singer)", "the ward of Lorna Ward"), *filler]
    space = HandSpace(passages)
    question = "where is the ward of Lorna Ward"
    dense = space.dense(space.encode([question]))[0]
    scores = ask(method, space, question).scores[0]
    assert dense[0] == pytest.approx(dense[1], abs=0.05)
    assert scores[1] - scores[0] == pytest.approx(dense[1] - dense[0] + 0.1, abs=1e-6)
    without = ask(Bridge(parts=Parts(titles=False)), space, question).scores[0]
    assert without[1] - without[0] == pytest.approx(dense[1] - dense[0], abs=1e-6)


def test_no_rewrite_gives_a_passage_a_higher_score_than_the_question_gives_its_best():
    space = HandSpace([("", "Bob met Ada."), ("", "old salt, says bob"), ("", "salt of the old mill"), ("", "Ada")])
    question = "old salt Ada says"
    for method in (Bridge(), BridgeLite()):
        answer = ask(method, space, question)
        texts = [text for text, _ in answer.activations[0].rewrites]
        dense = space.dense(space.encode([question, *texts]))
        assert 0.95 * dense[1:].max() > dense[0].max() + 0.01
        assert answer.scores[0].max() == pytest.approx(dense[0].max())
        assert max(score for _, score in answer.activations[0].rewrites) == pytest.approx(dense[0].max() - 0.02)


@pytest.mark.parametrize("method", [Bridge(), BridgeLite()])
def test_without_facts_and_names_the_passages_vectors_answer(method):
    space = HandSpace([("", text.lower()) for _, text in PASSAGES])
    vectors = space.encode([QUESTION, "fish"])
    answer = method.score(space, [QUESTION, "fish"], vectors)
    np.testing.assert_array_equal(answer.scores, space.dense(vectors))
    assert all(activation.fallback and not activation.rewrites for activation in answer.activations)


def test_facts_that_are_far_from_a_question_do_not_move_its_passages():
    passages = [("", f"{word} fish market") for word in ("red", "blue", "old", "new")]
    far = {3: [("alpha", "beta", "gamma")]}
    space = HandSpace(passages, far)
    answer = ask(Bridge(), space, "the blue fish market")
    assert order(answer.scores[0]) == order(space.dense(space.encode(["the blue fish market"]))[0])


def test_a_passage_without_an_edge_stands_as_one_with_a_name_of_its_own():
    passages = [("", "red fish"), ("", "red fish"), ("", "salt"), ("", "blue fish")]
    space = HandSpace(passages, mentions={0: ["own"], 2: ["other"]})
    scores = ask(BridgeLite(walker=Walker("exact", fact=0, synonym=0)), space, "red fish").scores[0]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)
    assert scores[1] > scores[3] > scores[2]


def test_names_lead_from_passage_to_passage_without_facts():
    mentions = {0: ["blue song", "lorna ward"], 1: ["green song"], 2: ["lorna ward", "oslo"]}
    space = HandSpace(PASSAGES, mentions=mentions)
    answer = ask(BridgeLite(walker=Walker("exact", fact=0, synonym=0)), space, QUESTION)
    texts = [text for text, _ in answer.activations[0].rewrites]
    dense = space.dense(space.encode([QUESTION, *texts]))
    reset = softmax(titled(capped(dense, behind=0.02)))
    reset = np.concatenate([np.zeros(space.graph.entities), reset])
    np.testing.assert_allclose(answer.scores[0], walked(space, reset, facts=False), rtol=1e-3)
    assert answer.activations[0].facts == []


def test_walks_that_start_at_the_best_passages_leave_the_order_of_the_rest(monkeypatch):
    monkeypatch.setattr("mnemodex.retrievers.graph.bridge._STARTS", 2)
    passages = [("", "fish " * (9 - number) + "salt " * number) for number in range(8)]
    space = HandSpace(passages, mentions={0: ["a"], 1: ["a"], 6: ["b"]})
    assert order(ask(BridgeLite(), space, "fish").scores[0])[:6] == [0, 1, 2, 3, 4, 5]


def test_a_book_as_a_passage_and_a_passage_of_nothing_are_read_too():
    space = HandSpace([("Book", "Ada met Bob. " * 20_000), ("", ""), ("", '( "“ 。 … A. B. C.'), ("Ada", "Ada wrote.")])
    answer = ask(BridgeLite(), space, "Who met Ada?", "\n", "(((")
    assert np.isfinite(answer.scores).all()
    assert any(text.endswith("Bob") for text, _ in answer.activations[0].rewrites)


@pytest.mark.parametrize(
    ("question", "passages", "rewrite"),
    [
        (
            "东方红的作者在哪里出生？",
            [("东方红", "东方红的作者是李有源。"), ("李有源", "李有源在佳县出生。"), ("黄河", "黄河很长。")],
            "的作者在哪里出生？ 李有源",
        ),
        (
            "Где родился автор романа Тихий Дон?",
            [("", "Тихий Дон написал Михаил Шолохов."), ("", "Шолохов родился на хуторе."), ("", "Река течёт.")],
            "Где родился автор романа ? Михаил Шолохов",
        ),
    ],
)
def test_bridges_cross_in_every_script_and_without_titles(question, passages, rewrite):
    space = HandSpace(passages)
    rewrites = [text for text, _ in ask(BridgeLite(), space, question).activations[0].rewrites]
    assert any(text.startswith(rewrite) for text in rewrites)
