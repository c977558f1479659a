"""Whether the arrays of a shard lead nowhere but to each other: kernels follow them without looking."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.compiled import kernel
from mnemodex.indexers.ngram.ragged import offsets_of
from mnemodex.indexers.ngram.tree import (
    BLOCK_WORDS,
    FIRST,
    LENGTH,
    START,
    SYMBOL,
    blocks_for,
    count_block,
    lay_out,
    packed_bits,
    packed_words,
    rank,
    rows_of_children,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.indexers.arrays import Int64s, Uint64s
    from mnemodex.indexers.ngram.shard import Places
    from mnemodex.indexers.ngram.tree import Tree

_DEEPEST = 62
"""Bits of the longest path: the words in which paths are written are signed."""


def find_fault(tree: Tree, places: Places, counts: tuple[int, int, int], vocabulary: int) -> str:
    """Return what is wrong with a shard of so many rows, documents and tokens; empty where nothing is.

    The levels follow from the paths' lengths and the symbols' rows, so they are laid out again. Where each node's bits
    have the ones that its children say, every walk stays in the rows. That reads each word once.
    """
    rows, documents, tokens = counts
    if rows != documents + tokens or documents < 0 or tokens < 0:
        return "rows are not documents and tokens"
    faults = chain(
        _faults_of_code(tree, rows, documents, vocabulary + 1),
        _faults_of_bits(tree),
        _faults_of_places(places, rows, documents),
    )
    # The first one: what comes later takes for granted what was looked at before.
    return next(faults, "")


def _faults_of_code(tree: Tree, rows: int, documents: int, symbols: int) -> Iterator[str]:
    bits, levels, leaves, leaf_of = tree
    if leaves.ndim != 2 or leaves.shape[1] != 4 or levels.ndim != 2 or levels.shape[1] != 8 or len(leaf_of) != symbols:
        yield "leaves, levels or leaf_of have another shape"
    starts, lengths, occurring = leaves[:, START], leaves[:-1, LENGTH], leaves[:-1, SYMBOL]
    if len(leaves) == 0 or starts[0] != 0 or starts[-1] != rows or np.any(starts[1:] <= starts[:-1]):
        yield "the rows of leaves do not rise from 0 to all"
    if np.any(lengths < 0) or np.any(lengths > _DEEPEST) or np.any(lengths[1:] < lengths[:-1]):
        yield "the lengths of leaves are out of order"
    # Kraft's equality: each inner node has two children.
    parts = sum(int(count) << (_DEEPEST - depth) for depth, count in enumerate(np.bincount(lengths)))
    if len(lengths) and parts != 1 << _DEEPEST:
        yield "the lengths of leaves are of no tree"
    if len(lengths) and not (occurring.min() >= 0 and occurring.max() < symbols):
        yield "leaves name other symbols"
    wanted = np.full(symbols, -1, np.int32)
    wanted[occurring] = np.arange(len(occurring), dtype=np.int32)
    # Nothing but documents ends with a separator, the last symbol.
    if documents and (wanted[-1] < 0 or starts[wanted[-1] + 1] - starts[wanted[-1]] != documents):
        yield "leaves have another number of documents"
    again = leaves.copy()
    laid_out, blocks = lay_out(again)
    same = np.array_equal(again, leaves) and np.array_equal(laid_out, levels) and np.array_equal(wanted, leaf_of)
    if not same or np.count_nonzero(wanted >= 0) < len(occurring) or bits.shape != (blocks * BLOCK_WORDS,):
        yield "leaves, levels, leaf_of and bits do not belong together"


def _faults_of_bits(tree: Tree) -> Iterator[str]:
    bits, levels, leaves, _ = tree
    for depth, zeros, ones in rows_of_children(leaves):
        borders, first = offsets_of(zeros + ones), int(levels[depth, FIRST])
        if not _has_headers(bits, first, blocks_for(int(borders[-1]))):
            yield "the counts in bits are wrong"
        if not np.array_equal(np.diff(_ranks(bits, first, borders)), ones):
            yield "bits lead to other symbols than leaves say"


def _faults_of_places(places: Places, rows: int, documents: int) -> Iterator[str]:
    borders, marks, samples, packed, width = places
    if borders.shape != (documents + 1,) or borders[0] != 0 or borders[-1] != rows or np.any(np.diff(borders) < 1):
        yield "borders do not rise from 0 to all rows"
    if marks.shape != (blocks_for(rows) * BLOCK_WORDS,) or not _has_headers(marks, 0, blocks_for(rows)):
        yield "the counts in marks are wrong"
    if _ranks(marks, 0, np.array([rows]))[0] != len(samples) or samples.ndim != 1:
        yield "marks and samples differ in number"
    if len(samples) and samples.max() >= rows:
        yield "samples lie behind all rows"
    if packed is None:
        if width:
            yield "the bits of documents are of no documents"
        return
    # Its numbers are looked at when they are read: all of them take as long as the rest together.
    if width != packed_bits(documents - 1) or packed.shape != (packed_words(rows, width),):
        yield "documents have another length"


@kernel
def _has_headers(vector: Uint64s, first: int, blocks: int) -> bool:
    """Whether the headers of a bit vector are what `write_headers` would write."""
    ones = 0
    for block in range(first, first + blocks):
        header, ones = count_block(vector, block, ones)
        if vector[block * 8] != header:
            return False
    return True


@kernel
def _ranks(vector: Uint64s, first: int, positions: Int64s) -> Int64s:
    """Count the ones before each position."""
    counts = np.empty(len(positions), np.int64)
    for number in range(len(positions)):
        counts[number] = rank(vector, first, positions[number])
    return counts
