"""Facts that are many: by the codes of their vectors, those that all vectors would give."""

from __future__ import annotations

import numpy as np
import pytest
from graph_space import nearest

from mnemodex.indexers.dense.vectors import Vectors
from mnemodex.indexers.graph import codes as module
from mnemodex.indexers.graph.codes import Codes, train_codes, write_codes
from mnemodex.retrievers.graph.nearest import TextVectors

FACTS, DIMENSION = 30_000, 64


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def facts():
    """Facts of two names and a predicate each, in no clusters; some are the same."""
    rng = np.random.default_rng(0)
    names, predicates = rng.normal(size=(5_000, DIMENSION)), 0.5 * rng.normal(size=(30, DIMENSION))
    drawn = [(len(of) * rng.random(FACTS) ** 2).astype(int) for of in (names, names, predicates)]
    vectors = unit(names[drawn[0]] + names[drawn[1]] + predicates[drawn[2]])
    vectors[1::1000] = vectors[0]
    questions = unit(names[rng.integers(0, 5_000, 60)] + predicates[rng.integers(0, 30, 60)])
    return vectors, np.vstack([questions, vectors[:1]])


@pytest.fixture(scope="module")
def opened(facts, tmp_path_factory):
    """Returns the texts of the facts, whose rows are in another order, in partitions, and what compares all of them."""
    vectors, folder = facts[0], tmp_path_factory.mktemp("codes")
    numbers = np.random.default_rng(1).permutation(FACTS).astype(np.int32)
    matrices = np.split(vectors[numbers], [1, 1, 9_000, 20_001])
    np.save(folder / "0.npy", np.vstack(matrices[:4]))
    (folder / "trained").mkdir()
    train_codes(Vectors([folder / "0.npy"], ["0"], dimension=DIMENSION), folder / "trained")
    shards = []
    for number, matrix in enumerate(matrices):
        shards.append(folder / f"shard-{number}")
        shards[-1].mkdir()
        np.save(shards[-1] / "v.npy", matrix)
        of_part = Vectors([shards[-1] / "v.npy"], [str(number)], dimension=DIMENSION)
        write_codes(folder / "trained", of_part, shards[-1], cpus=1)
    return TextVectors(matrices, numbers, Codes(shards))


def test_the_linked_facts_are_those_of_all_vectors(facts, opened, monkeypatch):
    monkeypatch.setattr(module, "CANDIDATES", 500)
    found, exact = opened.nearest(facts[1], 10), nearest(facts[1], facts[0], 10)
    same = [len({*row} & {*other}) for row, other in zip(found.rows.tolist(), exact.rows.tolist(), strict=True)]
    assert np.mean(same) / 10 >= 0.98
    np.testing.assert_allclose(found.scores[:, 0], exact.scores[:, 0], atol=1e-6)


def test_of_equal_facts_the_first_ones_are_linked(facts, opened):
    found = opened.nearest(facts[1][-1:], 10)
    equal = np.flatnonzero((facts[0] == facts[0][0]).all(axis=1))
    assert found.rows[0].tolist() == equal[:10].tolist()


def test_the_worst_of_all_facts_is_that_of_a_sample(facts, opened):
    exact = nearest(facts[1], facts[0], 1).least
    found = opened.nearest(facts[1], 1).least
    assert ((found > exact - 1e-6) & (found < exact + 0.25)).all()


@pytest.mark.parametrize("dimension", [7, 30, 384])
def test_vectors_of_any_dimension_have_codes(tmp_path, dimension):
    vectors = unit(np.random.default_rng(0).normal(size=(2_000, dimension)))
    np.save(tmp_path / "v.npy", vectors)
    given = Vectors([tmp_path / "v.npy"], ["0"], dimension=dimension)
    train_codes(given, tmp_path)
    write_codes(tmp_path, given, tmp_path, cpus=1)
    assert len(Codes([tmp_path]).candidates(vectors[:1])[0]) == 2_000
