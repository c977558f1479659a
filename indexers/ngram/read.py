"""Documents read out of the index: walks through the tokens of many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.compiled import copy_row, kernel
from mnemodex.indexers.ngram.blocks import bit, rank, touch
from mnemodex.indexers.ngram.code import FIRST, LEAF, LEFT, NODES, SHIFT, SYMBOL, ZEROS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LANES = 32
_POSITION, _DEPTH, _NODE, _NEXT, _END = range(5)


@kernel
def read_symbols(
    tree: tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]],
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    symbols: NDArray[np.int32],
) -> None:
    """Write the symbols that follow rows.

    Args:
        tree: the bit vectors, `Code.levels` and `Code.leaves`.
        rows: int64 array of shape (walks,): where each walk begins.
        starts: int64 array of shape (walks,): where its first symbol is written.
        lengths: int64 array of shape (walks,): how many symbols it takes; none may lie behind a separator.
        symbols: int32 array, written.
    """
    bits, levels, leaves = tree
    lanes = np.empty((_LANES, 5), np.int64)
    live = following = 0
    lane = 0
    while live > 0 or following < len(rows):
        while live < _LANES and following < len(rows):
            if lengths[following] > 0:
                lanes[live, _POSITION] = rows[following]
                lanes[live, _DEPTH] = lanes[live, _NODE] = 0
                lanes[live, _NEXT] = starts[following]
                lanes[live, _END] = starts[following] + lengths[following]
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
            lanes[lane, _DEPTH] = depth + 1
            lanes[lane, _NODE] = node
            lanes[lane, _POSITION] = position
            lane += 1
