"""Walks of many rows at once: to their places in the stream, to documents, and through the tokens that follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.compiled import copy_row, kernel
from mnemodex.indexers.ngram.tree import FIRST, LEAF, LEFT, NODES, SHIFT, SYMBOL, ZEROS, bit, get_packed, rank, touch

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Int32s, Int64s, Uint32s, Uint64s
    from mnemodex.indexers.ngram.tree import Tree

_LANES = 32
# Columns of the lanes: those of both walks, of `places_of`, of `read_symbols`.
_POSITION, _DEPTH = range(2)
_INDEX, _STEPS = range(2, 4)
_NODE, _NEXT, _END = range(2, 5)


@kernel
def places_of(tree: Tree, marks: Uint64s, samples: Uint32s, most: int, places: Int64s) -> bool:
    """Overwrite row numbers with their places in the stream, by walking each to the right until a sampled row.

    `marks` says which rows are sampled, `samples` gives their places. Return False where a walk has taken `most` steps
    without a sample, which may then have no end.
    """
    bits, levels, _, _ = tree
    lanes = np.empty((_LANES, 4), np.int64)
    live = following = 0
    lane = 0
    while live > 0 or following < len(places):
        while live < _LANES and following < len(places):
            lanes[live, _INDEX], lanes[live, _POSITION] = following, places[following]
            lanes[live, _DEPTH] = lanes[live, _STEPS] = 0
            touch(marks, 0, places[following])
            touch(bits, 0, places[following])
            live += 1
            following += 1
        lane = 0
        while lane < live:
            depth, position = lanes[lane, _DEPTH], lanes[lane, _POSITION]
            if depth == 0 and bit(marks, 0, position):
                places[lanes[lane, _INDEX]] = np.int64(samples[rank(marks, 0, position)]) - lanes[lane, _STEPS]
                live -= 1
                copy_row(lanes, live, lanes, lane)
                continue
            first = levels[depth, FIRST]
            ones = rank(bits, first, position)
            position = levels[depth, ZEROS] + ones if bit(bits, first, position) else position - ones
            if position >= levels[depth, LEFT]:
                position += levels[depth, SHIFT]
                depth = -1
                lanes[lane, _STEPS] += 1
                if lanes[lane, _STEPS] > most:
                    return False
                touch(marks, 0, position)
            touch(bits, levels[depth + 1, FIRST], position)
            lanes[lane, _DEPTH], lanes[lane, _POSITION] = depth + 1, position
            lane += 1
    return True


@kernel
def read_symbols(tree: Tree, rows: Int64s, starts: Int64s, lengths: Int64s, symbols: Int32s) -> None:
    """Write the symbols that follow rows.

    Args:
        tree: the wavelet tree.
        rows: int64 array of shape (walks,): where each walk begins.
        starts: int64 array of shape (walks,): where its first symbol is written.
        lengths: int64 array of shape (walks,): how many symbols it takes; none may lie behind a separator.
        symbols: int32 array, written.
    """
    bits, levels, leaves, _ = tree
    lanes = np.empty((_LANES, 5), np.int64)
    live = following = 0
    lane = 0
    while live > 0 or following < len(rows):
        while live < _LANES and following < len(rows):
            if lengths[following] > 0:
                lanes[live, _POSITION] = rows[following]
                lanes[live, _DEPTH] = lanes[live, _NODE] = 0
                lanes[live, _NEXT], lanes[live, _END] = starts[following], starts[following] + lengths[following]
                touch(bits, levels[0, FIRST], rows[following])
                live += 1
            following += 1
        lane = 0
        while lane < live:
            depth, position, node = lanes[lane, _DEPTH], lanes[lane, _POSITION], lanes[lane, _NODE]
            first = levels[depth, FIRST]
            ones = rank(bits, first, position)
            if bit(bits, first, position):
                position = levels[depth, ZEROS] + ones
                node += levels[depth, NODES]
            else:
                position -= ones
            if position >= levels[depth, LEFT]:
                symbols[lanes[lane, _NEXT]] = leaves[node + levels[depth, LEAF], SYMBOL]
                lanes[lane, _NEXT] += 1
                if lanes[lane, _NEXT] == lanes[lane, _END]:
                    live -= 1
                    copy_row(lanes, live, lanes, lane)
                    continue
                position += levels[depth, SHIFT]
                depth, node = -1, 0
            touch(bits, levels[depth + 1, FIRST], position)
            lanes[lane, _DEPTH], lanes[lane, _NODE], lanes[lane, _POSITION] = depth + 1, node, position
            lane += 1


@kernel
def documents_of(packed: Uint64s, width: int, ranges: Int64s, documents: Int32s) -> None:
    """Load the document numbers of the rows of ranges, one range after the other."""
    following = 0
    for query in range(len(ranges)):
        for row in range(ranges[query, 0], ranges[query, 1]):
            documents[following] = get_packed(packed, width, row)
            following += 1


@kernel
def early_rows(documents: Int32s, ranges: Int64s, last: Int64s, rows: Int64s) -> None:
    """Choose the rows of early documents, in place.

    Args:
        documents: the document of every row of every range, as `documents_of` gives them.
        ranges: int64 array of shape (queries, 2), overwritten with where each query's chosen rows begin and end in
            `rows`.
        last: int64 array of shape (queries,): the last document whose rows are chosen.
        rows: the chosen rows, written from the front; as many places as there are documents given.
    """
    following = chosen = 0
    for query in range(len(ranges)):
        low, high = ranges[query, 0], ranges[query, 1]
        ranges[query, 0] = chosen
        for row in range(low, high):
            if documents[following] <= last[query]:
                rows[chosen] = row
                chosen += 1
            following += 1
        ranges[query, 1] = chosen
