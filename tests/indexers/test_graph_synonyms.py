"""Synonyms: pairs of names whose vectors are close, found once and whatever the order of additions."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemodex.indexers.graph import synonyms as module
from mnemodex.indexers.graph.synonyms import Synonyms, comparable, find_pairs, pairs, strongest

NOTHING, EVERY = np.zeros(0, np.int64), np.arange(40)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "_ROWS", 7)
    monkeypatch.setattr(module, "_EXACT", 3)


def vectors(seed, rows=40):
    """Rows near a few centres, so that many cosines lie around the threshold, and some rows that are equal."""
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(5, 16))[rng.integers(0, 5, rows)] + 0.45 * rng.normal(size=(rows, 16))
    found[1::10] = found[0]
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def found(matrix, new, old=NOTHING):
    """Pairs with their cosines; each may come once."""
    rows = [row for block in pairs(matrix, new, old) for row in zip(*(part.tolist() for part in block), strict=True)]
    assert len({row[:2] for row in rows}) == len(rows)
    return {(one, other): cosine for one, other, cosine in rows}


def chosen(pairs_of, rows, limit):
    """Brute force: every node picks, by cosine and then by number; what either end picks is kept."""
    kept = set()
    for node in range(rows):
        mine = [(-cosine, sum(ends) - node, ends) for ends, cosine in pairs_of.items() if node in ends]
        kept |= {ends for _, _, ends in sorted(mine)[:limit]}
    return kept


class TestPairs:
    @given(seed=st.integers(0, 1000))
    @settings(max_examples=50)
    def test_they_are_all_that_reach_the_threshold(self, seed):
        matrix = vectors(seed)
        cosines = matrix.astype(np.float64) @ matrix.T.astype(np.float64)
        expected = {(i, j) for i, j in zip(*np.nonzero(cosines >= 0.8), strict=True) if i < j}
        assert set(found(matrix, np.arange(len(matrix)))) == expected

    @given(seed=st.integers(0, 1000), turns=st.lists(st.integers(0, 3), min_size=40, max_size=40))
    @settings(max_examples=50)
    def test_any_sequence_of_additions_finds_what_one_build_finds(self, seed, turns):
        matrix, turn = vectors(seed), np.array(turns)
        added = {}
        for step in range(4):
            new, old = np.flatnonzero(turn == step), np.flatnonzero(turn < step)
            more = found(matrix, new, old)
            assert not added.keys() & more.keys()
            added |= more
        assert added == found(matrix, np.arange(len(matrix)))

    def test_rows_that_are_left_out_are_in_no_pair(self):
        assert found(np.ones((4, 1), np.float32), np.array([1]), np.array([3])) == {(1, 3): 1.0}

    def test_mapped_vectors_are_read(self, tmp_path):
        np.save(tmp_path / "v.npy", vectors(0), allow_pickle=False)
        mapped = np.load(tmp_path / "v.npy", mmap_mode="r", allow_pickle=False)
        assert found(mapped, np.arange(40)) == found(vectors(0), np.arange(40))


class TestFindPairs:
    def test_few_are_all_compared(self):
        matrix = vectors(0)
        likely = [
            set(zip(part.left.tolist(), part.right.tolist(), strict=True))
            for part in find_pairs(matrix, EVERY, NOTHING)
        ]
        assert set().union(*likely) == set(found(matrix, EVERY))

    @pytest.mark.parametrize("old", [0, 2_000])
    def test_of_many_nearly_all_are_found_and_none_is_wrong(self, monkeypatch, old):
        monkeypatch.undo()
        monkeypatch.setattr(module, "FEW", 0)
        rng = np.random.default_rng(0)
        # Names of no clusters, each in a few spellings.
        matrix = np.repeat(rng.normal(size=(1_500, 48)), 4, axis=0) + 0.45 * rng.normal(size=(6_000, 48))
        matrix = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)
        order = rng.permutation(6_000)
        new, former = np.sort(order[old:]), np.sort(order[:old])
        expected = found(matrix, new, former)
        likely = {}
        for part in find_pairs(matrix, new, former):
            for one, other, cosine in zip(*(column.tolist() for column in part), strict=True):
                likely[one, other] = cosine
        assert likely.items() <= expected.items()
        assert len(likely) >= 0.98 * len(expected) > 1_000


class TestComparable:
    def test_two_letters_say_too_little(self):
        names = ["us", "u s", "", "usa", "19", "1960", "北京", "é", "a b c"]
        assert comparable(pa.array(names)).tolist() == [False, False, False, True, False, True, True, False, True]


class TestStrongest:
    @given(seed=st.integers(0, 1000), limit=st.integers(0, 12))
    @settings(max_examples=50)
    def test_a_pair_is_kept_if_it_is_among_the_best_of_either_end(self, seed, limit):
        rng = np.random.default_rng(seed)
        known = found(vectors(seed, 30), np.arange(30))
        rounded = {
            ends: round(known[ends], 1) for ends in rng.permutation(list(known)).tolist() for ends in [tuple(ends)]
        }
        left, right = np.array(list(rounded), np.int32).reshape(-1, 2).T
        keep = strongest(Synonyms(left, right, np.array(list(rounded.values()), np.float32)), 30, limit)
        assert set(zip(left[keep].tolist(), right[keep].tolist(), strict=True)) == chosen(rounded, 30, limit)
