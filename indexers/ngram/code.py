"""The Huffman code of a shard's tokens, and the shape of the wavelet tree that it gives.

The tree is a wavelet matrix (Claude, Navarro and Ordóñez, *The wavelet matrix*, 2015) with Huffman codes: every level
is one bit vector over all its nodes, nodes are in matrix order (all zero-children before all one-children), and the
code puts the leaves of a level last. So the positions that go on are a prefix of each level, no node needs a pointer,
and the leaves, taken level by level, number the symbols in the very order in which the suffix array sorts them: a
position of a leaf becomes a row by adding a constant of its level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.compiled import kernel
from mnemodex.indexers.ngram.blocks import blocks_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Columns of `leaves`.
CODE, LENGTH, START, SYMBOL = range(4)
# Columns of `levels`.
FIRST, SIZE, ZEROS, NODES, INNER, LEFT, SHIFT, LEAF = range(8)


@dataclass(frozen=True, slots=True)
class Code:
    """What a symbol's path is, and where the levels lie.

    Attributes:
        leaves: int64 array of shape (occurring symbols + 1, 4), the most frequent symbol first: its path (the bit of
            level d is bit d), the path's length, the first row whose suffix begins with it, and the symbol. The last
            row only closes the rows.
        levels: int64 array of shape (levels, 8). Of level d: its first block, its bits, the zeros among them, its
            nodes, the nodes of level d + 1, the bits of level d + 1; then, for the leaves that end below level d, row
            minus position, and leaf number minus child number.
        leaf_of: int32 array of shape (symbols,): the leaf number, or -1 for a symbol that does not occur.
        blocks: blocks of all levels together.
    """

    leaves: NDArray[np.int64]
    levels: NDArray[np.int64]
    leaf_of: NDArray[np.int32]
    blocks: int


@kernel
def _path_lengths(ascending: NDArray[np.int64]) -> NDArray[np.int64]:
    """Huffman path lengths of ascending frequencies, by a queue of leaves and one of sums (van Leeuwen, 1976)."""
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


def make_code(frequencies: NDArray[np.int64]) -> Code:
    """Give every symbol that occurs a path.

    Args:
        frequencies: int64 array of shape (symbols,).

    Returns:
        The code; it has no levels if fewer than two symbols occur.
    """
    occurring = np.flatnonzero(frequencies)
    order = occurring[np.argsort(-frequencies[occurring], kind="stable")]
    counts = frequencies[order]
    leaves = np.zeros((len(order) + 1, 4), dtype=np.int64)
    leaves[:-1, SYMBOL] = order
    np.cumsum(counts, out=leaves[1:, START])
    if len(order) > 1:
        # Equal sums can leave the lengths out of order; sorted, they are as short together.
        leaves[:-1, LENGTH] = np.sort(_path_lengths(np.ascontiguousarray(counts[::-1])))
    levels, blocks = _lay_out(leaves)
    leaf_of = np.full(len(frequencies), -1, dtype=np.int32)
    leaf_of[order] = np.arange(len(order), dtype=np.int32)
    return Code(leaves, levels, leaf_of, blocks)


def _lay_out(leaves: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Fill in the paths, level by level from the root; returns the levels and their blocks."""
    lengths, starts = leaves[:-1, LENGTH], leaves[:, START]
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
    for depth, level in enumerate(levels):
        turns_left = (lengths > depth) & (leaves[:-1, CODE] >> depth & 1 == 0)
        level[ZEROS] = np.diff(starts)[turns_left].sum()
    return levels, blocks
