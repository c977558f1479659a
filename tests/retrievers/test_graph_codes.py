"""Facts and passages that are many: by the codes of their vectors, those that all vectors would give."""

from __future__ import annotations

import numpy as np
import pytest
from graph_space import nearest

from mnemodex.indexers.dense.vectors import Vectors
from mnemodex.indexers.graph.codes import Codes, train_codes, write_codes
from mnemodex.retrievers.graph.nearest import TextVectors
from mnemodex.schemas.errors import CorruptFileError

FACTS, DIMENSION = 30_000, 64
EVERY = np.ones(FACTS, bool)


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def coded(folder, matrices, *, lists, kept=EVERY):
    """The codes of some matrices, trained with the last one."""
    paths = [folder / f"{number}.npy" for number in range(len(matrices))]
    for path, matrix in zip(paths, matrices, strict=True):
        np.save(path, matrix)
    parts = [Vectors([path], [path.stem], dimension=matrices[0].shape[1]) for path in paths]
    train_codes(parts[-1], folder, lists=lists)
    for path, part in zip(paths, parts, strict=True):
        path.with_suffix("").mkdir()
        write_codes(folder, part, path.with_suffix(""), cpus=1)
    return Codes(folder / "codes.faiss", [path.with_suffix("") / "codes.npy" for path in paths], kept)


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
    """The texts of the facts, whose rows are in another order, in partitions."""
    numbers = np.random.default_rng(1).permutation(FACTS).astype(np.int32)
    matrices = np.split(facts[0][numbers], [1, 1, 4_000, 11_001])
    return TextVectors(matrices, numbers, coded(tmp_path_factory.mktemp("facts"), matrices, lists=True))


def test_the_linked_facts_are_those_of_all_vectors(facts, opened):
    found, exact = opened.nearest(facts[1], 10), nearest(facts[1], facts[0], 10)
    same = [len({*row} & {*other}) for row, other in zip(found.rows.tolist(), exact.rows.tolist(), strict=True)]
    assert np.mean(same) / 10 >= 0.98
    np.testing.assert_allclose(found.scores[:, 0], exact.scores[:, 0], atol=1e-6)


def test_where_lists_hold_too_few_all_are_looked_at(facts, opened):
    assert [len(rows) for rows in opened._codes.candidates(facts[1][:2], 2 * FACTS)] == [FACTS, FACTS]


def test_what_is_left_out_is_not_found_by_codes_or_without(facts, tmp_path):
    vectors, questions = facts
    left = np.random.default_rng(2).random(FACTS) < 0.5
    numbers = np.where(left, np.cumsum(left) - 1, -1).astype(np.int32)
    matrices = np.split(vectors, [4_000, 11_001])
    exact = nearest(questions, vectors[left], 10)
    whole = TextVectors(matrices, numbers).nearest(questions, 10)
    np.testing.assert_array_equal(whole.rows, exact.rows)
    np.testing.assert_allclose(whole.least, exact.least, atol=1e-6)
    by_codes = TextVectors(matrices, numbers, coded(tmp_path, matrices, lists=True, kept=left))
    assert left[by_codes.sample_rows].all()
    found = by_codes.nearest(questions, 10).rows
    same = [len({*row} & {*other}) for row, other in zip(found.tolist(), exact.rows.tolist(), strict=True)]
    assert found.min() >= 0 and np.mean(same) / 10 >= 0.98


def test_of_equal_facts_the_first_ones_are_linked(facts, opened):
    found = opened.nearest(facts[1][-1:], 10)
    equal = np.flatnonzero((facts[0] == facts[0][0]).all(axis=1))
    assert found.rows[0].tolist() == equal[:10].tolist()


def test_the_worst_of_all_facts_is_that_of_a_sample(facts, opened):
    exact = nearest(facts[1], facts[0], 1).least
    found = opened.nearest(facts[1], 1).least
    assert ((found > exact - 1e-6) & (found < exact + 0.25)).all()


def test_of_many_passages_the_near_ones_have_their_cosines_and_a_softmax_its_sum(facts, tmp_path):
    matrices = [matrix.astype(np.float16) for matrix in np.split(facts[0], [7_000, 7_000, 7_001])]
    passages = TextVectors(matrices, np.arange(FACTS, dtype=np.int32), coded(tmp_path, matrices, lists=False))
    found, exact = passages.cosines(facts[1], temperature=0.05), facts[1] @ np.vstack(matrices).astype(np.float32).T
    best = np.argsort(-exact, axis=1)[:, :200]
    near, there = (np.take_along_axis(scores, best, axis=1) for scores in (found, exact))
    assert (np.abs(near - there) < 1e-5).mean() > 0.995
    assert (np.abs(found - exact) < 1e-5).mean() < 0.2
    sums = [np.exp(scores.astype(np.float64) / 0.05).sum(axis=1) for scores in (found, exact)]
    np.testing.assert_allclose(sums[0], sums[1], rtol=0.2)
    assert (np.abs(found.min(axis=1) - exact.min(axis=1)) < 0.25).all()


@pytest.mark.parametrize(("dimension", "lists"), [(7, False), (30, True), (384, True)])
def test_vectors_of_any_dimension_have_codes(tmp_path, dimension, lists):
    vectors = unit(np.random.default_rng(0).normal(size=(2_000, dimension)))
    assert len(coded(tmp_path, [vectors], lists=lists).candidates(vectors[:1], 4_000)[0]) == 2_000


def in_list(number):
    def forge(codes):
        codes[7, 1, 0] = number
        return codes

    return forge


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (in_list(32), r"codes\.npy has numbers from 0 to 32 for 32 places"),
        (in_list(255), r"codes\.npy has numbers from 0 to 255 for 32 places"),
        (lambda codes: codes[:, :, :-1].copy(), r"codes\.npy: has no codes of \d+ bytes; remove it and build again"),
        (lambda codes: codes.astype(np.int8), "has no codes of"),
        (lambda codes: codes.reshape(len(codes), -1), "has no codes of"),
    ],
)
def test_codes_that_lead_out_of_the_lists_are_refused_when_they_are_opened(tmp_path, forge, said):
    vectors = unit(np.random.default_rng(0).normal(size=(2_000, 16)))
    coded(tmp_path, [vectors], lists=True)
    path = tmp_path / "0" / "codes.npy"
    np.save(path, forge(np.load(path)))
    with pytest.raises(CorruptFileError, match=said):
        Codes(tmp_path / "codes.faiss", [path], EVERY)
