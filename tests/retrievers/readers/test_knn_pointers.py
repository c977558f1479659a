"""Pointers against following written out, over random datastores, texts and beams."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy_datastore import NumpyDatastore

from mnemodex.retrievers.datastore import DatastoreInfo
from mnemodex.retrievers.readers.knn_lm import Mixing, Pointers
from mnemodex.schemas.errors import QueryError


def random_store(seed, rows=60):
    """Few tokens, so that values often come true; gaps between texts."""
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 4, (rows, 2)).astype(np.float32)
    ids = np.cumsum(1 + (rng.random(rows) < 0.1))
    info = DatastoreInfo("next", rows, 2, "ffn_input", "m", "", "", 3, 8, 2, (), 1.0, np.zeros(2, np.int32), keys[:1])
    return NumpyDatastore(info, keys, rng.integers(0, 3, rows), ids)


class ByHand:
    """One sequence."""

    def __init__(self, store, k, least):
        self.store, self.k, self.least = store, k, least
        self.row_of = {int(number): row for row, number in enumerate(store.ids)}
        self.last, self.searches, self.saved = [], 0, 0

    def step(self, key, came, wanted):
        def entry(number):
            row = self.row_of[number]
            return float(((key - self.store.keys[row]) ** 2).sum()), number, int(self.store.tokens[row])

        here = []
        if wanted:
            here = sorted(
                entry(number + 1) for _, number, token in self.last if token == came and number + 1 in self.row_of
            )
            if len(here) >= self.least:
                self.saved += 1
            else:
                self.searches += 1
                here = sorted(entry(number) for number in self.row_of)[: self.k]
        self.last = here
        return here


@given(
    st.integers(0, 10_000),
    st.integers(1, 6),
    st.integers(1, 3),
    st.lists(st.sampled_from(["step", "step", "step", "reorder", "forget"]), max_size=12),
)
def test_neighbours_are_followed_as_by_hand(seed, k, least, moves):
    store, rng = random_store(seed), np.random.default_rng(seed)
    mixing = Mixing(k=k, pointers=min(least, k))
    pointers = Pointers(store, mixing, 3)
    plain = [ByHand(store, k, min(least, k)) for _ in range(3)]
    searches = saved = 0
    for move in ["step", *moves]:
        if move == "reorder":
            order = rng.integers(0, 3, 3)
            pointers.reorder(order)
            lasts = [plain[row].last for row in order]
            for sequence, last in zip(plain, lasts, strict=True):
                sequence.last = last
        elif move == "forget":
            pointers.forget()
            for sequence in plain:
                sequence.last = []
        else:
            keys = rng.integers(0, 4, (3, 2)).astype(np.float32)
            came, wanted = rng.integers(0, 3, 3), rng.random(3) < 0.9
            got = pointers.step(keys, came, wanted)
            for row, sequence in enumerate(plain):
                expected = sequence.step(keys[row], int(came[row]), wanted[row])
                real = got.ids[row] >= 0
                triples = zip(got.distances[row][real], got.ids[row][real], got.tokens[row][real], strict=True)
                assert [(float(d), int(i), int(t)) for d, i, t in triples] == expected
                assert np.isinf(got.distances[row][~real]).all() and (got.tokens[row][~real] == -1).all()
    searches = sum(sequence.searches for sequence in plain)
    saved = sum(sequence.saved for sequence in plain)
    assert (pointers.searches, pointers.saved) == (searches, saved)
    assert store.searched == searches


def test_how_many_are_enough_has_to_be_said():
    with pytest.raises(QueryError, match="pointers is None"):
        Pointers(random_store(0), Mixing(), 1)
