"""The wavelet tree of a shard: bits with ranks in one cache line, packed integers, and the Huffman code of the tokens.

A bit vector is a row of blocks of 8 words of 64 bits: a header and 448 bits. The header holds the ones before the
block (37 bits) and, within the block, the ones before its words 2, 4 and 6 (9 bits each), so that a rank reads one
cache line and counts two words.

The tree is a wavelet matrix (Claude, Navarro and Ordóñez, *The wavelet matrix*, 2015) with Huffman codes: every level
is one bit vector over all its nodes, nodes are in matrix order (all zero-children before all one-children), and the
code puts the leaves of a level last. So the positions of inner nodes are a prefix of each level, no node needs a
pointer, and the leaves, taken level by level, number the symbols in the very order in which the suffix array sorts
them: a position of a leaf becomes a row by adding a constant of its level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.compiled import helper, kernel, popcount, prefetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.indexers.arrays import Int32s, Int64s, Uint64s

    Tree = tuple[Uint64s, Int64s, Int64s, Int32s]
    """The bit vectors, and `levels`, `leaves` and `leaf_of` of the code."""

BLOCK_WORDS = 8
BLOCK_BITS = 448


def blocks_for(bits: int) -> int:
    """Return the blocks of a bit vector, with room for one more bit, so that the rank at its end lies in a block."""
    return bits // BLOCK_BITS + 1


@helper
def word_at(first: int, word: int) -> int:
    """Return where word number `word` of the bit vector that begins at block `first` lies."""
    block = int(np.int64(np.uint64(word) // np.uint64(7)))
    return (first + block) * 8 + 1 + word - block * 7


@helper
def touch(vector: Uint64s, first: int, position: int) -> None:
    """Prefetch the block of a position."""
    prefetch(vector, (first + int(np.int64(np.uint64(position) // np.uint64(448)))) * 8)


@helper
def rank(vector: Uint64s, first: int, position: int) -> int:
    """Count the ones in [0, position) of the bit vector that begins at block `first`."""
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
def bit(vector: Uint64s, first: int, position: int) -> int:
    """Return the bit at a position, 0 or 1."""
    word = vector[word_at(first, position >> 6)]
    return int(np.int64((word >> (np.uint64(position) & np.uint64(63))) & np.uint64(1)))


@helper
def count_block(vector: Uint64s, block: int, before: int) -> tuple[np.uint64, int]:
    """Return the header of a block that so many ones are before, and the number of ones up to its end."""
    header = np.uint64(before) << np.uint64(27)
    inside = 0
    for word in range(7):
        if word > 0 and word % 2 == 0:
            header |= np.uint64(inside) << np.uint64(9 * (word // 2 - 1))
        inside += popcount(vector[block * 8 + 1 + word])
    return header, before + inside


@kernel
def write_headers(vector: Uint64s, first: int, blocks: int) -> int:
    """Write the headers of a bit vector whose bits are in place; return the number of its ones."""
    ones = 0
    for block in range(first, first + blocks):
        vector[block * 8], ones = count_block(vector, block, ones)
    return ones


def packed_bits(largest: int) -> int:
    """Return the bits of packed integers up to `largest`."""
    return max(1, largest.bit_length())


def packed_words(count: int, width: int) -> int:
    """Return the words of `count` packed integers; one more than needed, so that a value is always read from two."""
    return (count * width + 63) // 64 + 1


@helper
def put_packed(words: Uint64s, width: int, index: int, value: int) -> None:
    """Store a packed integer into words that are zero."""
    start = index * width
    offset = np.uint64(start & 63)
    words[start >> 6] |= np.uint64(value) << offset
    words[(start >> 6) + 1] |= (np.uint64(value) >> np.uint64(1)) >> (np.uint64(63) - offset)


@helper
def get_packed(words: Uint64s, width: int, index: int) -> int:
    """Load a packed integer."""
    start = index * width
    offset = np.uint64(start & 63)
    value = (words[start >> 6] >> offset) | ((words[(start >> 6) + 1] << np.uint64(1)) << (np.uint64(63) - offset))
    return int(np.int64(value & ((np.uint64(1) << np.uint64(width)) - np.uint64(1))))


# Columns of `leaves`.
CODE, LENGTH, START, SYMBOL = range(4)
# Columns of `levels`.
FIRST, SIZE, ZEROS, NODES, INNER, LEFT, SHIFT, LEAF = range(8)


@dataclass(frozen=True, slots=True)
class Code:
    """The paths of symbols, and where the levels lie.

    Attributes:
        leaves: int64 array of shape (occurring symbols + 1, 4), the most frequent symbol first: its path (the bit of
            level d is bit d), the path's length, the first row whose suffix begins with it, and the symbol. The last
            row only closes the rows.
        levels: int64 array of shape (levels, 8). Of level d: its first block, its bits, the zeros among them, its
            nodes, the nodes of level d + 1, the bits of level d + 1; then, for the leaves that end below level d, row
            minus position, and leaf number minus child number.
        leaf_of: int32 array of shape (symbols,): the leaf number, or -1 for a symbol that does not occur.
    """

    leaves: Int64s
    levels: Int64s
    leaf_of: Int32s
    blocks: int


@kernel
def _path_lengths(ascending: Int64s) -> Int64s:
    """Return Huffman path lengths of ascending frequencies, by queues of leaves and of sums (van Leeuwen, 1976)."""
    leaves = len(ascending)
    nodes = 2 * leaves - 1
    weights = np.zeros(nodes, np.int64)
    for leaf in range(leaves):
        weights[leaf] = ascending[leaf]
    parents = np.empty(nodes, np.int64)
    leaf, inner = 0, leaves
    for node in range(leaves, nodes):
        for _ in range(2):
            if inner >= node or (leaf < leaves and weights[leaf] <= weights[inner]):
                child = leaf
                leaf += 1
            else:
                child = inner
                inner += 1
            parents[child] = node
            weights[node] += weights[child]
    depths = np.zeros(nodes, np.int64)
    for node in range(nodes - 2, -1, -1):
        depths[node] = depths[parents[node]] + 1
    return depths[:leaves]


def make_code(frequencies: Int64s) -> Code:
    """Give every symbol that occurs a path, by frequencies, int64 of (symbols,); fewer than two have no levels."""
    occurring = np.flatnonzero(frequencies)
    order = occurring[np.argsort(-frequencies[occurring], kind="stable")]
    counts = frequencies[order]
    leaves = np.zeros((len(order) + 1, 4), dtype=np.int64)
    leaves[:-1, SYMBOL] = order
    np.cumsum(counts, out=leaves[1:, START])
    if len(order) > 1:
        # Equal sums can leave the lengths out of order; sorted, they are as short together.
        leaves[:-1, LENGTH] = np.sort(_path_lengths(np.ascontiguousarray(counts[::-1])))
    levels, blocks = lay_out(leaves)
    leaf_of = np.full(len(frequencies), -1, dtype=np.int32)
    leaf_of[order] = np.arange(len(order), dtype=np.int32)
    return Code(leaves, levels, leaf_of, blocks)


def lay_out(leaves: Int64s) -> tuple[Int64s, int]:
    """Fill in the paths, level by level from the root; return the levels and their blocks."""
    lengths, starts = leaves[:-1, LENGTH].copy(), leaves[:, START]
    rows = int(starts[-1])
    levels = np.zeros((int(lengths.max(initial=0)), 8), dtype=np.int64)
    nodes = np.zeros(1, dtype=np.int64)
    blocks = 0
    for depth, level in enumerate(levels):
        children = np.concatenate([nodes, nodes | (1 << depth)])
        first, last = np.searchsorted(lengths, [depth + 1, depth + 2])
        inner = len(children) - int(last - first)
        leaves[first:last, CODE] = children[inner:]
        size, left = rows - int(starts[first]), rows - int(starts[last])
        level[[FIRST, SIZE, NODES, INNER, LEFT]] = blocks, size, len(nodes), inner, left
        level[[SHIFT, LEAF]] = int(starts[first]) - left, int(first) - inner
        blocks += blocks_for(size)
        nodes = children[:inner]
    for depth, zeros, _ in rows_of_children(leaves):
        levels[depth, ZEROS] = zeros.sum()
    return levels, blocks


def rows_of_children(leaves: Int64s) -> Iterator[tuple[int, Int64s, Int64s]]:
    """Yield each level from the last to the root: its depth, and the rows of each node that are zeros, and ones."""
    lengths, rows = leaves[:-1, LENGTH].copy(), np.diff(leaves[:, START])
    inner = np.zeros(0, np.int64)
    for depth in range(int(lengths.max(initial=0)) - 1, -1, -1):
        first, last = np.searchsorted(lengths, [depth + 1, depth + 2])
        zeros, ones = np.concatenate([inner, rows[first:last]]).reshape(2, -1)
        yield depth, zeros, ones
        inner = zeros + ones
