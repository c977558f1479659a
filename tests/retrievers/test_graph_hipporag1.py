"""HippoRAG 1: links of names, sums over a passage's triples, the ensemble, and questions without a name."""

from __future__ import annotations

import igraph
import numpy as np
import pytest
from graph_space import RandomSpace

from mnemodex.retrievers.graph.hipporag import HippoRAG1
from mnemodex.retrievers.graph.ppr import Walker


@pytest.fixture(scope="module")
def space():
    return RandomSpace()


@pytest.fixture(scope="module")
def questions(space):
    return space.questions(40)


def words(questions):
    return [question.upper().split() for question in questions]


def stretch(values):
    return (values - values.min()) / (values.max() - values.min())


def by_igraph(space, question):
    """The passages' scores, with the walk by igraph and the sums by loops."""
    weights = {}
    for triples in space.stated:
        for subject, _, object_ in triples:
            ends = tuple(sorted((int(subject[1:]), int(object_[1:]))))
            weights[ends] = weights.get(ends, 0.0) + 1
    cosines = space.entity_vectors @ space.entity_vectors.T
    for one, other in np.argwhere(np.triu(cosines >= 0.8, 1)).tolist():
        weights[one, other] = float(cosines[one, other])
    reset = np.zeros(len(space.entity_vectors))
    for name in question.split():
        passages = sum(any(name in (s, o) for s, _, o in triples) for triples in space.stated)
        reset[int(name[1:])] = 1 / max(passages, 1)
    mass = igraph.Graph(n=len(reset), edges=list(weights)).personalized_pagerank(
        damping=0.5, directed=False, weights=list(weights.values()), reset=reset.tolist(), implementation="prpack"
    )
    return np.array([sum(mass[int(s[1:])] + mass[int(o[1:])] for s, _, o in row) for row in space.stated])


@pytest.mark.parametrize("way", ["exact", "push"])
def test_a_passage_scores_as_its_triples(space, questions, way):
    walker = Walker(way, mention=0, overwrite=True, epsilon=1e-9)
    scores = HippoRAG1(words, walker=walker).score(space, questions, space.encode(questions)).scores
    for question, row in zip(questions, scores, strict=True):
        expected = by_igraph(space, question)
        np.testing.assert_allclose(row[expected > 0], stretch(expected)[expected > 0], atol=1e-4)
        assert (row[expected == 0] <= 0).all()


def test_a_weak_link_brings_in_the_passages_vectors(space, questions):
    def vague(asked):
        return [["e1", "e2 e3"] for _ in asked]

    vectors = space.encode(questions)
    plain = HippoRAG1(vague, ensemble=False).score(space, questions, vectors).scores
    mixed = HippoRAG1(vague).score(space, questions, vectors).scores
    for row, alone, dense in zip(mixed, plain, space.dense(vectors), strict=True):
        np.testing.assert_allclose(row, (np.maximum(alone, 0) + stretch(dense)) / 2, atol=1e-6)
    trusting = HippoRAG1(vague, confident=0.0).score(space, questions, vectors).scores
    np.testing.assert_array_equal(trusting, plain)


def test_a_question_without_a_name_is_answered_by_the_passages_vectors(space, questions):
    def none(asked):
        return [["e1"] if question == questions[1] else ["?!"] for question in asked]

    vectors = space.encode(questions[:3])
    answer = HippoRAG1(none).score(space, questions[:3], vectors)
    np.testing.assert_array_equal(answer.scores[[0, 2]], space.dense(vectors)[[0, 2]])
    assert [bool(activation.fallback) for activation in answer.activations] == [True, False, True]
    assert answer.activations[1].entities[0][0] == 1


def test_a_graph_without_entities_ranks_as_the_passages_vectors_do(questions):
    bare = RandomSpace(passages=1)
    vectors = bare.encode(questions)
    answer = HippoRAG1(lambda asked: [[] for _ in asked]).score(bare, questions, vectors)
    np.testing.assert_array_equal(answer.scores, bare.dense(vectors))
