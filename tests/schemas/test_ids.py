from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mnemodex.schemas.ids import hash_columns, hash_text, token_positions

int64 = st.integers(-(2**63), 2**63 - 1)


# Memories that are on disk hold these: a change of them needs a new format.
@pytest.mark.parametrize(
    ("parts", "salt", "expected"),
    [
        ((), "", 3797230976420062948),
        (("",), "", 1786884285633530058),
        (("a",), "", 20426198420320184),
        (("ab", "c"), "", 652078932630809789),
        (("a", "bc"), "", 7353382427274020294),
        (("é",), "", 9132449165465651573),
        (("\ud800",), "", 5576081755977749943),
        (("a",), "s", 8992910725847329851),
        (("a",), "s" * 64, 1270053076803831295),
    ],
)
def test_the_hash_of_a_text_never_changes(parts, salt, expected):
    assert hash_text(*parts, salt=salt) == expected


def test_the_hash_of_a_row_never_changes():
    columns = [np.array([0, 1, -1, 2**62]), np.array([0, 0, 5, -(2**63)])]
    ids = hash_columns(columns)
    assert ids.tolist() == [3837338422374600503, 1526026392369982916, 4073297418497820417, 7844717556464397255]
    assert ids.dtype == np.int64
    assert hash_columns([np.array([7])], salt="x").tolist() == [4544079500753535913]


@given(st.lists(st.text()), st.text())
def test_the_hash_of_a_text_is_a_non_negative_int64(parts, salt):
    assert 0 <= hash_text(*parts, salt=salt) < 2**63


@given(arrays.arrays(np.int64, st.tuples(st.integers(1, 4), st.integers(0, 20)), elements=int64), st.text())
def test_the_hash_of_a_row_is_a_non_negative_int64_and_its_own(columns, salt):
    ids = hash_columns(list(columns), salt=salt)
    assert (ids >= 0).all()
    alone = [hash_columns(list(columns[:, [row]]), salt=salt)[0] for row in range(columns.shape[1])]
    assert ids.tolist() == alone


def test_the_order_of_columns_and_the_number_of_parts_count():
    one, two = np.array([1]), np.array([2])
    assert hash_columns([one, two]) != hash_columns([two, one])
    assert hash_columns([one]) != hash_columns([one, np.array([0])])
    assert hash_text("a") != hash_text("a", "")
    assert hash_text("") != hash_text()


@pytest.mark.parametrize("salts", [("", "a"), ("a" * 64, "a" * 65), ("a" * 65, "a" * 66)])
def test_another_salt_gives_other_ids(salts):
    assert len({hash_text("text", salt=salt) for salt in salts}) == 2
    assert len({int(hash_columns([np.array([1])], salt=salt)[0]) for salt in salts}) == 2


def test_a_million_random_rows_do_not_collide():
    random = np.random.default_rng(1)
    columns = random.integers(-(2**63), 2**63, size=(2, 1_000_000), dtype=np.int64)
    assert len(np.unique(hash_columns(list(columns)))) == 1_000_000


def test_a_million_neighbouring_rows_do_not_collide():
    """Documents of small numbers with offsets in steps: what a weak mixing would fold together."""
    document, start = (axis.ravel() for axis in np.meshgrid(np.arange(1000), np.arange(1000) * 64))
    ids = hash_columns([document, start, start + 128])
    assert len(np.unique(ids)) == 1_000_000
    # Every bit is set in half of the ids, give or take six standard deviations.
    share = [(ids >> bit & 1).mean() for bit in range(63)]
    assert np.abs(np.array(share) - 0.5).max() < 6 * 0.5 / 1000


def test_positions_of_tokens_are_consecutive_and_wrap_around():
    doc_ids = np.array([5, 2**63 - 1], np.int64)
    assert token_positions(doc_ids, np.array([3, 1])).tolist() == [8, 0]
    assert token_positions(token_positions(doc_ids, np.int64(4)), -doc_ids).tolist() == [4, 4]
