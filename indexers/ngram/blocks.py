"""Bits with ranks in one cache line, and integers packed into as many bits as they need: layout and inner loops.

A bit vector is a row of blocks of 8 words of 64 bits: a header and 448 bits. The header holds the ones before the
block (37 bits) and, within the block, the ones before its words 2, 4 and 6 (9 bits each), so that a rank reads one
cache line and counts two words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.compiled import helper, kernel, popcount, prefetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_WORDS = 8
BLOCK_BITS = 448


def blocks_for(bits: int) -> int:
    """Blocks of a bit vector: always room for one more bit, so that the rank at its end lies in a block."""
    return bits // BLOCK_BITS + 1


@helper
def word_at(first: int, word: int) -> int:
    """Where word number `word` of the bit vector that begins at block `first` lies."""
    block = int(np.int64(np.uint64(word) // np.uint64(7)))
    return (first + block) * 8 + 1 + word - block * 7


@helper
def touch(vector: NDArray[np.uint64], first: int, position: int) -> None:
    """Prefetch the block of a position."""
    prefetch(vector, (first + int(np.int64(np.uint64(position) // np.uint64(448)))) * 8)


@helper
def rank(vector: NDArray[np.uint64], first: int, position: int) -> int:
    """Ones in [0, position) of the bit vector that begins at block `first`."""
    word = np.uint64(position) >> np.uint64(6)
    block = word // np.uint64(7)
    inner = int(np.int64(word - block * np.uint64(7)))
    base = (first + int(np.int64(block))) * 8
    header = vector[base]
    pair = inner >> 1
    # Shifted up by one field, the counts are in order and that of the first pair is zero.
    before = ((header << np.uint64(9)) >> np.uint64(9 * pair)) & np.uint64(511)
    whole = np.uint64(0) - np.uint64(inner & 1)
    part = (np.uint64(1) << (np.uint64(position) & np.uint64(63))) - np.uint64(1)
    ones = int(np.int64(header >> np.uint64(27))) + int(np.int64(before))
    return ones + popcount(vector[base + 1 + 2 * pair] & whole) + popcount(vector[base + 1 + inner] & part)


@helper
def bit(vector: NDArray[np.uint64], first: int, position: int) -> int:
    """The bit at a position, 0 or 1."""
    word = vector[word_at(first, position >> 6)]
    return int(np.int64((word >> (np.uint64(position) & np.uint64(63))) & np.uint64(1)))


@kernel
def write_headers(vector: NDArray[np.uint64], first: int, blocks: int) -> int:
    """Count the ones of a bit vector whose bits are in place; returns how many there are."""
    ones = 0
    for block in range(first, first + blocks):
        header = np.uint64(ones) << np.uint64(27)
        inside = 0
        for word in range(7):
            if word > 0 and word % 2 == 0:
                header |= np.uint64(inside) << np.uint64(9 * (word // 2 - 1))
            inside += popcount(vector[block * 8 + 1 + word])
        vector[block * 8] = header
        ones += inside
    return ones


def packed_bits(largest: int) -> int:
    """Bits of a packed integer whose largest value is given."""
    return max(1, largest.bit_length())


def packed_words(count: int, width: int) -> int:
    """Words of `count` packed integers; one more than needed, so that a value is always read from two."""
    return (count * width + 63) // 64 + 1


@helper
def put_packed(words: NDArray[np.uint64], width: int, index: int, value: int) -> None:
    """Store a packed integer into words that are zero."""
    start = index * width
    offset = np.uint64(start & 63)
    words[start >> 6] |= np.uint64(value) << offset
    words[(start >> 6) + 1] |= (np.uint64(value) >> np.uint64(1)) >> (np.uint64(63) - offset)


@helper
def get_packed(words: NDArray[np.uint64], width: int, index: int) -> int:
    """Load a packed integer."""
    start = index * width
    offset = np.uint64(start & 63)
    value = (words[start >> 6] >> offset) | ((words[(start >> 6) + 1] << np.uint64(1)) << (np.uint64(63) - offset))
    return int(np.int64(value & ((np.uint64(1) << np.uint64(width)) - np.uint64(1))))
