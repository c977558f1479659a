"""Continuations of ranges, and sums by key: inner loops whose results come sorted without a sort."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.compiled import copy_row, helper, kernel, popcount
from mnemodex.indexers.ngram.tree import FIRST, INNER, LEAF, NODES, SYMBOL, ZEROS, rank, touch

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Int32s, Int64s, Uint64s
    from mnemodex.indexers.ngram.tree import Tree

    Sums = tuple[Int64s, Uint64s, Uint64s]

_AHEAD = 8
"""A node's cache lines are loaded so many nodes before its turn."""


@helper
def _put(nodes: Int64s, place: int, low: int, high: int, node: int, query: int) -> None:
    nodes[place, 0], nodes[place, 1], nodes[place, 2], nodes[place, 3] = low, high, node, query


@helper
def _walk_level(
    tree: Tree, depth: int, nodes: Int64s, size: int, rows: Int64s, count: int, separator: int
) -> tuple[int, int]:
    """Replace the nodes of a level by their children; return how many there are, and the number of leaves in `rows`."""
    bits, levels, leaves, _ = tree
    zeros, ones, level = nodes[0], nodes[1], levels[depth]
    zero_size = one_size = 0
    for place in range(size):
        ahead = min(place + _AHEAD, size - 1)
        touch(bits, level[FIRST], zeros[ahead, 0])
        touch(bits, level[FIRST], zeros[ahead, 1])
        low, high, node, query = zeros[place, 0], zeros[place, 1], zeros[place, 2], zeros[place, 3]
        ones_low, ones_high = rank(bits, level[FIRST], low), rank(bits, level[FIRST], high)
        for turn in range(2):
            start, stop, child = low - ones_low, high - ones_high, node
            if turn:
                start, stop, child = level[ZEROS] + ones_low, level[ZEROS] + ones_high, node + level[NODES]
            if start == stop:
                continue
            if child >= level[INNER]:
                symbol = leaves[child + level[LEAF], SYMBOL]
                rows[count, 0], rows[count, 1], rows[count, 2] = query, symbol, stop - start
                count += symbol != separator
            elif turn:
                _put(ones, one_size, start, stop, child, query)
                one_size += 1
            else:
                # A node has at most one zero-child, so this never overtakes the nodes still to be read.
                _put(zeros, zero_size, start, stop, child, query)
                zero_size += 1
    # All zero-children before all one-children: the nodes stay in the order of their positions.
    for place in range(one_size):
        copy_row(ones, place, zeros, zero_size + place)
    return zero_size + one_size, count


@kernel
def continuations_of(tree: Tree, ranges: Int64s, nodes: Int64s, rows: Int64s, separator: int) -> int:
    """Walk down the wavelet tree from all ranges together, level by level, wherever a range holds something.

    Write rows of query, symbol and count, int64 of shape (room, 3), without those of the separator, and return how
    many. The nodes are scratch, int64 of shape (2, room, 4); `room` is the sum over queries of the smaller of the
    range's rows and the leaves.
    """
    size = count = 0
    for query in range(len(ranges)):
        if ranges[query, 0] < ranges[query, 1]:
            _put(nodes[0], size, ranges[query, 0], ranges[query, 1], 0, query)
            size += 1
    for depth in range(len(tree[1])):
        size, count = _walk_level(tree, depth, nodes, size, rows, count, separator)
    return count


def make_sums(keys: int) -> Sums:
    """Return zeros for the sums of the keys in [0, keys), bits for sums above zero, and bits for words of bits."""
    words = (keys >> 6) + 1
    return np.zeros(keys, np.int64), np.zeros(words, np.uint64), np.zeros((words >> 6) + 1, np.uint64)


@helper
def _add(sums: Sums, key: int, count: int) -> None:
    totals, words, summary = sums
    totals[key] += count
    words[key >> 6] |= np.uint64(1) << np.uint64(key & 63)
    summary[key >> 12] |= np.uint64(1) << np.uint64((key >> 6) & 63)


@helper
def _lowest(word: np.uint64) -> int:
    """Return the number of a word's lowest one."""
    return popcount(~word & (word - np.uint64(1)))


@helper
def _drain(sums: Sums, keys: Int64s, counts: Int64s, start: int) -> int:
    """Write the sums in the order of their keys and make them zero; return where they end."""
    totals, words, summary = sums
    for top in range(len(summary)):
        while summary[top] != 0:
            word = (top << 6) + _lowest(summary[top])
            summary[top] &= summary[top] - np.uint64(1)
            rest = words[word]
            words[word] = 0
            while rest != 0:
                key = (word << 6) + _lowest(rest)
                rest &= rest - np.uint64(1)
                keys[start], counts[start] = key, totals[key]
                totals[key] = 0
                start += 1
    return start


@kernel
def sum_by_key(rows: Int64s, sums: Sums, keys: Int64s, counts: Int64s, offsets: Int64s) -> None:
    """Sum counts by query and key.

    Args:
        rows: int64 array of shape (n, 3): query, key, count, in any order.
        sums: `make_sums` of the number of keys.
        keys: int64 array of shape (n,): every query's keys ascending, written from the front.
        counts: int64 array of shape (n,): their sums, written likewise.
        offsets: int64 array of shape (queries + 1,): where each query's keys begin, written.
    """
    queries = len(offsets) - 1
    ends = np.zeros(queries + 1, np.int64)
    for i in range(len(rows)):
        ends[rows[i, 0] + 1] += 1
    for query in range(queries):
        ends[query + 1] += ends[query]
    order = np.empty(len(rows), np.int64)
    for i in range(len(rows)):
        # Afterwards ends[query] is where the query's rows end.
        order[ends[rows[i, 0]]] = i
        ends[rows[i, 0]] += 1
    start = begin = 0
    offsets[0] = 0
    for query in range(queries):
        for i in order[begin : ends[query]]:
            _add(sums, rows[i, 1], rows[i, 2])
        begin = ends[query]
        start = _drain(sums, keys, counts, start)
        offsets[query + 1] = start


@kernel
def count_distinct(
    documents: Int32s, ranges: Int64s, sums: Sums, answer: tuple[Int64s, Int64s], offsets: Int64s
) -> None:
    """Count how often every document occurs in each range.

    Args:
        documents: the document of every row of every range, one range after the other.
        ranges: int64 array of shape (queries, 2).
        sums: `make_sums` of the number of documents.
        answer: two int64 arrays with a place for every row: documents, ascending for each query, and their counts;
            written from the front.
        offsets: int64 array of shape (queries + 1,): where each query's documents begin, written.
    """
    keys, counts = answer
    row = start = 0
    offsets[0] = 0
    for query in range(len(ranges)):
        for _ in range(ranges[query, 1] - ranges[query, 0]):
            _add(sums, documents[row], 1)
            row += 1
        start = _drain(sums, keys, counts, start)
        offsets[query + 1] = start
