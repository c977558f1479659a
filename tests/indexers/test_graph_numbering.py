"""Numbers of ids are those of a binary search, however the ids are spread."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mnemodex.indexers.graph.numbering import Numbering

SMALL, HASHED = st.integers(0, 30), st.integers(0, (1 << 63) - 1)


@given(st.lists(SMALL | HASHED, unique=True, min_size=1, max_size=60), st.data())
def test_numbers_are_places_among_ascending_ids(ids, data):
    ascending = np.sort(np.array(ids, np.int64))
    wanted = np.array(data.draw(st.lists(st.sampled_from(ids), max_size=60)), np.int64)
    assert Numbering(ascending)(wanted).tolist() == np.searchsorted(ascending, wanted).tolist()


def test_what_is_no_id_leads_to_the_first_place():
    ids = np.array([5, 1 << 61], np.int64)
    assert Numbering(ids)(np.array([-1, np.iinfo(np.int64).min])).tolist() == [0, 0]


def test_no_id_has_no_number():
    none = np.zeros(0, np.int64)
    assert Numbering(none)(none).tolist() == []
