"""From rows to where they lie in the stream: sampled places in lock-step, and document numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.compiled import copy_row, kernel
from mnemodex.indexers.ngram.blocks import bit, get_packed, rank, touch
from mnemodex.indexers.ngram.code import FIRST, LEFT, SHIFT, ZEROS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LANES = 32
_INDEX, _POSITION, _DEPTH, _STEPS = range(4)


@kernel
def places_of(
    bits: NDArray[np.uint64],
    levels: NDArray[np.int64],
    marks: NDArray[np.uint64],
    samples: NDArray[np.uint32],
    places: NDArray[np.int64],
) -> None:
    """Find where rows lie, by walking each to the right until a sampled row.

    Args:
        bits: the bit vectors of the wavelet tree.
        levels: `Code.levels`.
        marks: which rows are sampled.
        samples: the places of the sampled rows.
        places: int64 array of shape (rows asked for,): row numbers, overwritten with places in the stream.
    """
    lanes = np.empty((_LANES, 4), np.int64)
    live = following = 0
    lane = 0
    while live > 0 or following < len(places):
        while live < _LANES and following < len(places):
            lanes[live, _INDEX] = following
            lanes[live, _POSITION] = places[following]
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
                touch(marks, 0, position)
            touch(bits, levels[depth + 1, FIRST], position)
            lanes[lane, _DEPTH] = depth + 1
            lanes[lane, _POSITION] = position
            lane += 1


@kernel
def documents_of(
    packed: NDArray[np.uint64], width: int, ranges: NDArray[np.int64], documents: NDArray[np.int32]
) -> None:
    """Load the document numbers of the rows of ranges, one range after the other."""
    following = 0
    for query in range(len(ranges)):
        for row in range(ranges[query, 0], ranges[query, 1]):
            documents[following] = get_packed(packed, width, row)
            following += 1


@kernel
def early_rows(
    documents: NDArray[np.int32], ranges: NDArray[np.int64], last: NDArray[np.int64], rows: NDArray[np.int64]
) -> None:
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
