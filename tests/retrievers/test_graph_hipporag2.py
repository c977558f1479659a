"""HippoRAG 2: parity with a plain version over igraph, the recognition memory, and what happens without facts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graph_space import RandomSpace
from hipporag2_reference import Reference

from mnemodex.retrievers.graph.hipporag import HippoRAG2
from mnemodex.retrievers.graph.ppr import Walker

WAYS = {"fact": 2, "mention": 1, "synonym": 2, "overwrite": True}


@pytest.fixture(scope="module")
def space():
    return RandomSpace()


@pytest.fixture(scope="module")
def questions(space):
    return space.questions(100)


def best(scores, k=5):
    return set(np.argsort(-scores, kind="stable")[:k].tolist())


@pytest.mark.parametrize("way", ["exact", "batched", "push"])
def test_it_ranks_as_igraph_does(space, questions, way):
    reference, vectors = Reference(space), space.encode(questions)
    found = HippoRAG2(walker=Walker(way, **WAYS)).score(space, questions, vectors).scores
    same = [best(row) == best(reference.rank(vector)) for row, vector in zip(found, vectors, strict=True)]
    assert sum(same) >= 95


def test_it_says_which_facts_and_entities_led_it(space, questions):
    answer = HippoRAG2().score(space, questions, space.encode(questions))
    for question, activation in zip(questions, answer.activations, strict=True):
        nearest = np.argsort(-(space.fact_vectors @ space.encode([question])[0]), kind="stable")[:5]
        assert {fact for fact, _ in activation.facts} == set(nearest.tolist())
        assert activation.facts[0][1] == pytest.approx(1)
        masses = [mass for _, mass in activation.entities]
        assert len(masses) == 10 and masses == sorted(masses, reverse=True)
        assert activation.fallback is None


def test_the_recognition_memory_chooses_among_the_facts(space, questions):
    asked = []

    def keep(question, facts):
        asked.append((question, facts))
        return [1]

    answer = HippoRAG2(keep=keep).score(space, questions[:3], space.encode(questions[:3]))
    assert [question for question, _ in asked] == questions[:3] and all(len(facts) == 5 for _, facts in asked)
    for (_, facts), activation in zip(asked, answer.activations, strict=True):
        assert space.facts([fact for fact, _ in activation.facts]) == [facts[1]]


def test_questions_that_the_recognition_memory_does_not_answer_keep_all_facts_and_are_counted(space, questions, caplog):
    def keep(question, facts):
        return None if question == questions[1] else [0]

    answer = HippoRAG2(keep=keep).score(space, questions[:3], space.encode(questions[:3]))
    assert [len(activation.facts) for activation in answer.activations] == [1, 5, 1]
    (warning,) = caplog.messages
    assert "no usable answer for 1 of 3 questions" in warning and repr(questions[1][:100]) in warning


def test_without_a_fact_the_passages_vectors_answer(space, questions):
    def keep(question, facts):
        return [] if question == questions[0] else list(range(len(facts)))

    vectors = space.encode(questions[:2])
    answer = HippoRAG2(keep=keep).score(space, questions[:2], vectors)
    np.testing.assert_array_equal(answer.scores[0], space.dense(vectors)[0])
    assert answer.activations[0].fallback and not answer.activations[1].fallback


def test_a_graph_without_facts_ranks_as_the_passages_vectors_do(questions):
    bare = RandomSpace(passages=1)
    vectors = bare.encode(questions)
    answer = HippoRAG2().score(bare, questions, vectors)
    np.testing.assert_array_equal(answer.scores, bare.dense(vectors))
    assert all(activation.fallback for activation in answer.activations)


def test_passages_that_the_walk_does_not_reach_follow_by_their_vectors(space, questions):
    vectors = space.encode(questions[:5])
    walker = Walker("push", **WAYS, epsilon=0.1)
    scores = HippoRAG2(passages=3, walker=walker).score(space, questions[:5], vectors).scores
    for row, dense in zip(scores, space.dense(vectors), strict=True):
        beyond = np.flatnonzero(row <= 0)
        assert 50 < len(beyond) < len(row) and row.max() > 0
        np.testing.assert_array_equal(np.argsort(row[beyond]), np.argsort(dense[beyond]))


def test_a_walker_notices_another_graph(space, questions):
    vectors, method = space.encode(questions[:2]), HippoRAG2()
    before = method.score(space, questions[:2], vectors).scores
    other = RandomSpace(seed=1)
    other.graph = replace(other.graph, fact=other.graph.fact * 2)
    assert not np.array_equal(method.score(other, questions[:2], vectors).scores, before)
    np.testing.assert_array_equal(method.score(space, questions[:2], vectors).scores, before)
