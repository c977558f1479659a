"""From tokens to chunks: arrays against looking at every chunk."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemodex.indexers.ngram.chunk_map import ChunkMap
from mnemodex.schemas.errors import CorruptFileError


@st.composite
def documents(draw):
    """Token starts, and overlapping or parted chunks with ascending starts and ends, of some documents."""
    made = []
    for _ in range(draw(st.integers(1, 5))):
        length = draw(st.integers(0, 30))
        places = st.integers(0, max(length - 1, 0))
        starts = sorted(draw(st.lists(places, max_size=12))) if length else []
        first = sorted(draw(st.sets(places, max_size=5))) if length else []
        chunks = []
        for start in first:
            low = max(start + 1, chunks[-1][1] + 1 if chunks else 0)
            if low <= length:
                chunks.append((start, draw(st.integers(low, length))))
        made.append((starts, chunks))
    return made


def map_of(made):
    return ChunkMap.of(
        [np.array(starts, np.int64) for starts, _ in made],
        np.array([number for number, (_, chunks) in enumerate(made) for _ in chunks], np.int64),
        np.array([end for _, chunks in made for _, end in chunks], np.int64),
    )


def expected_chunk(start, chunks):
    """The first chunk that covers a character, else the one after it, else the last; None without chunks."""
    covering = [number for number, (low, high) in enumerate(chunks) if low <= start < high]
    following = [number for number, (low, _) in enumerate(chunks) if low > start]
    return (covering or following or [len(chunks) - 1])[0] if chunks else None


def assert_maps(found, made):
    before = 0
    for number, (starts, chunks) in enumerate(made):
        tokens = np.arange(len(starts))
        expected = [expected_chunk(start, chunks) for start in starts]
        chosen = found.find(np.full(len(starts), number), tokens).tolist()
        assert chosen == [-1 if chunk is None else before + chunk for chunk in expected]
        for chunk in range(len(chunks)):
            document, low, high = (column[0] for column in found.owned(np.array([before + chunk])))
            assert document == number
            assert list(range(low, high)) == [token for token in tokens if expected[token] == chunk]
        before += len(chunks)


@given(documents())
def test_a_token_belongs_to_the_first_chunk_that_covers_its_start(made):
    assert_maps(map_of(made), made)


@given(documents(), st.integers(0, 5), st.integers(0, 5))
def test_parts_one_after_the_other_are_the_map_of_all(made, one, other):
    cuts = sorted({0, min(one, len(made)), min(other, len(made)), len(made)})
    joined = ChunkMap.concatenate([map_of(made[start:stop]) for start, stop in pairwise(cuts)])
    assert len(joined) == len(made)
    assert_maps(joined, made)


def test_a_map_is_opened_as_it_was_saved(tmp_path):
    made = [([0, 4, 9], [(0, 8), (5, 12)]), ([], [(0, 3)]), ([0], [])]
    map_of(made).save(tmp_path)
    assert_maps(ChunkMap.open(tmp_path), made)


def test_arrays_of_different_maps_are_refused(tmp_path):
    map_of([([0, 4], [(0, 8)]), ([1], [(0, 2)])]).save(tmp_path)
    np.save(tmp_path / "first_tokens.npy", np.zeros(1, np.int64))
    with pytest.raises(CorruptFileError, match="does not rise from 0 to 1; remove the folder"):
        ChunkMap.open(tmp_path)


@pytest.mark.parametrize(
    "first_tokens", [[0, 2, 1, 3, 4], [0, 1, 1, 2, 4], [0, 1, 4, 3, 4], [0, 1, 2, 3, 6], [-1, 1, 2, 3, 4]]
)
def test_tokens_of_chunks_lie_in_their_documents_and_rise(tmp_path, first_tokens):
    # Three tokens and chunks, none at all, and two of each.
    ChunkMap(np.arange(5), np.array([0, 3, 3, 5]), np.array([0, 3, 3, 5])).save(tmp_path)
    assert len(ChunkMap.open(tmp_path)) == 3
    np.save(tmp_path / "first_tokens.npy", np.array(first_tokens))
    with pytest.raises(CorruptFileError, match="first_tokens"):
        ChunkMap.open(tmp_path)
