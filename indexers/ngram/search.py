"""Backward search in lock-step: many n-grams at once, so that one waits for memory while others are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.compiled import copy_row, helper, kernel
from mnemodex.indexers.ngram.tree import CODE, FIRST, LENGTH, SHIFT, START, ZEROS, rank, touch

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Int32s, Int64s
    from mnemodex.indexers.ngram.tree import Tree

_LANES = 32
_QUERY, _NEXT, _DEPTH, _LENGTH, _CODE, _LOW, _HIGH = range(7)


@helper
def _next_symbol(tree: Tree, lanes: Int64s, lane: int, symbols: Int32s, end: int) -> bool:
    """Begin the next symbol of a lane's n-gram; return False if its range is final."""
    bits, levels, leaves, leaf_of = tree
    while lanes[lane, _NEXT] < end and lanes[lane, _LOW] < lanes[lane, _HIGH]:
        leaf = leaf_of[symbols[lanes[lane, _NEXT]]]
        lanes[lane, _NEXT] += 1
        if leaf < 0:
            lanes[lane, _HIGH] = lanes[lane, _LOW]
        elif lanes[lane, _LOW] == 0 and lanes[lane, _HIGH] == leaves[len(leaves) - 1, START]:
            # After nothing, a symbol's range is known without a rank.
            lanes[lane, _LOW], lanes[lane, _HIGH] = leaves[leaf, START], leaves[leaf + 1, START]
        else:
            lanes[lane, _DEPTH] = 0
            lanes[lane, _LENGTH], lanes[lane, _CODE] = leaves[leaf, LENGTH], leaves[leaf, CODE]
            touch(bits, levels[0, FIRST], lanes[lane, _LOW])
            touch(bits, levels[0, FIRST], lanes[lane, _HIGH])
            return True
    return False


@helper
def _descend(tree: Tree, lanes: Int64s, lane: int) -> bool:
    """Take a lane one level down; return True if its symbol is done."""
    bits, levels, _, _ = tree
    depth = lanes[lane, _DEPTH]
    low, high = lanes[lane, _LOW], lanes[lane, _HIGH]
    ones_low = rank(bits, levels[depth, FIRST], low)
    ones_high = rank(bits, levels[depth, FIRST], high)
    if (lanes[lane, _CODE] >> depth) & 1:
        low, high = levels[depth, ZEROS] + ones_low, levels[depth, ZEROS] + ones_high
    else:
        low, high = low - ones_low, high - ones_high
    done: bool = low == high or depth + 1 == lanes[lane, _LENGTH]
    if done:
        low, high = low + levels[depth, SHIFT], high + levels[depth, SHIFT]
    else:
        touch(bits, levels[depth + 1, FIRST], low)
        touch(bits, levels[depth + 1, FIRST], high)
    lanes[lane, _DEPTH], lanes[lane, _LOW], lanes[lane, _HIGH] = depth + 1, low, high
    return done


@helper
def _leave(lanes: Int64s, lane: int, ranges: Int64s) -> None:
    """Write down a lane's final range; an empty one is always (0, 0)."""
    low, high = lanes[lane, _LOW], lanes[lane, _HIGH]
    ranges[lanes[lane, _QUERY], 0] = low if low < high else 0
    ranges[lanes[lane, _QUERY], 1] = high if low < high else 0


@kernel
def extend(tree: Tree, ranges: Int64s, symbols: Int32s, offsets: Int64s) -> None:
    """Extend ranges, int64 of shape (queries, 2), by n-grams: overwrite them with the rows after the n-grams.

    The n-grams' symbols come one n-gram after the other; int64 offsets of shape (queries + 1,) say where each begins.
    """
    lanes = np.empty((_LANES, 7), np.int64)
    live = following = 0
    queries = len(ranges)
    lane = 0
    while live > 0 or following < queries:
        while live < _LANES and following < queries:
            lanes[live, _QUERY], lanes[live, _NEXT] = following, offsets[following]
            lanes[live, _LOW], lanes[live, _HIGH] = ranges[following, 0], ranges[following, 1]
            following += 1
            if _next_symbol(tree, lanes, live, symbols, offsets[following]):
                live += 1
            else:
                _leave(lanes, live, ranges)
        lane = 0
        while lane < live:
            end = offsets[lanes[lane, _QUERY] + 1]
            if _descend(tree, lanes, lane) and not _next_symbol(tree, lanes, lane, symbols, end):
                _leave(lanes, lane, ranges)
                live -= 1
                copy_row(lanes, live, lanes, lane)
            else:
                lane += 1
