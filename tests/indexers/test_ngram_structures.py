from __future__ import annotations

import heapq
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemodex.indexers.ngram.assemble import sort_suffixes
from mnemodex.indexers.ngram.tree import (
    BLOCK_BITS,
    BLOCK_WORDS,
    CODE,
    LENGTH,
    START,
    SYMBOL,
    bit,
    blocks_for,
    get_packed,
    make_code,
    packed_bits,
    packed_words,
    put_packed,
    rank,
    word_at,
    write_headers,
)


def huffman_cost(frequencies):
    """Bits of a text under the best prefix code, by a heap."""
    heap = sorted(frequencies)
    cost = 0
    while len(heap) > 1:
        both = heapq.heappop(heap) + heapq.heappop(heap)
        cost += both
        heapq.heappush(heap, both)
    return cost


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=300).filter(lambda counts: np.count_nonzero(counts) > 1))
def test_a_code_is_prefix_free_and_as_short_as_can_be(frequencies):
    code = make_code(np.array(frequencies))
    leaves = code.leaves[:-1]
    counts = np.diff(code.leaves[:, START])
    np.testing.assert_array_equal(counts, np.array(frequencies)[leaves[:, SYMBOL]])
    assert int((counts * leaves[:, LENGTH]).sum()) == huffman_cost(counts.tolist())
    paths = sorted(
        "".join(str(path >> depth & 1) for depth in range(length))
        for path, length in leaves[:, [CODE, LENGTH]].tolist()
    )
    assert not any(later.startswith(path) for path, later in pairwise(paths))


@settings(deadline=None)
@given(st.integers(0, 3 * BLOCK_BITS), st.floats(0, 1), st.integers(0, 2**32), st.integers(0, 2))
def test_ranks_are_running_sums(count, density, seed, first):
    bits = np.random.default_rng(seed).random(count) < density
    blocks = blocks_for(count)
    vector = np.zeros((first + blocks) * BLOCK_WORDS, dtype=np.uint64)
    for position in np.flatnonzero(bits).tolist():
        vector[word_at(first, position >> 6)] |= np.uint64(1 << (position & 63))
    assert write_headers(vector, first, blocks) == bits.sum()
    assert [rank(vector, first, position) for position in range(count + 1)] == [0, *np.cumsum(bits).tolist()]
    assert [bit(vector, first, position) for position in range(count)] == bits.tolist()


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**40 - 1), max_size=100), st.integers(0, 40))
def test_packed_integers_come_out_as_they_went_in(values, shift):
    values = [value >> shift for value in values]
    width = packed_bits(max(values, default=0))
    words = np.zeros(packed_words(len(values), width), dtype=np.uint64)
    for index, value in enumerate(values):
        put_packed(words, width, index, value)
    assert [get_packed(words, width, index) for index in range(len(values))] == values


@pytest.mark.parametrize("width", [2, 3])
@settings(deadline=None)
@given(st.lists(st.integers(0, 2**16 - 1) | st.integers(0, 2), min_size=1, max_size=80))
def test_suffixes_are_sorted_by_symbols_not_bytes(width, symbols):
    text = np.array(symbols, dtype=">u4").view(np.uint8).reshape(-1, 4)[:, 4 - width :]
    suffixes = sort_suffixes(np.ascontiguousarray(text))[: len(symbols)]
    assert suffixes.tolist() == sorted(range(len(symbols)), key=lambda start: symbols[start:])
