"""Inner loops of building: from symbols in the order of the text to the bits of the wavelet tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.compiled import kernel
from mnemodex.indexers.ngram.blocks import put_packed, word_at

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def reverse_text(
    symbols: NDArray[np.int32],
    borders: NDArray[np.int64],
    leaf_of: NDArray[np.int32],
    text: NDArray[np.uint8],
) -> None:
    """Write the stream backwards as big-endian leaf numbers, whose bytes sort as the numbers do.

    Args:
        symbols: the documents' symbols, one document after the other.
        borders: int64 array of shape (documents + 1,): where each document's separator stands in the stream.
        leaf_of: the leaf number of every symbol; the separator is the last symbol.
        text: uint8 array of shape (rows, bytes a symbol), written.
    """
    rows, width = text.shape
    separator = leaf_of[len(leaf_of) - 1]
    following = 0
    for document in range(len(borders) - 1):
        for place in range(borders[document], borders[document + 1]):
            leaf = separator
            if place > borders[document]:
                leaf = leaf_of[symbols[following]]
                following += 1
            for byte in range(width):
                text[rows - 1 - place, byte] = np.uint8((leaf >> (8 * (width - 1 - byte))) & 255)


@kernel
def keep_symbol_starts(suffixes: NDArray[np.int32], width: int) -> None:
    """Turn the suffix array of bytes into that of symbols, in place; it fills the front."""
    kept = 0
    for i in range(len(suffixes)):
        suffix = suffixes[i]
        symbol = np.int32(np.uint32(suffix) // np.uint32(width))
        # Written in any case and moved on only for a start: no branch that could be predicted wrongly.
        suffixes[kept] = symbol
        kept += symbol * width == suffix


@kernel
def transform(suffixes: NDArray[np.int32], text: NDArray[np.uint8], sequence: NDArray[np.int32]) -> None:
    """The Burrows-Wheeler transform: of every row, the leaf number before its suffix (the text being a ring)."""
    rows, width = text.shape
    for row in range(rows):
        before = suffixes[row] - 1
        if before < 0:
            before += rows
        leaf = np.int32(text[before, width - 1]) | (np.int32(text[before, width - 2]) << 8)
        if width == 3:
            leaf |= np.int32(text[before, 0]) << 16
        sequence[row] = leaf


@kernel
def annotate(
    suffixes: NDArray[np.int32],
    borders: NDArray[np.int64],
    rate: int,
    marks: NDArray[np.uint64],
    samples: NDArray[np.uint32],
    documents: NDArray[np.uint64],
    width: int,
) -> None:
    """Write down where rows lie in the stream: the place of some, the document of all.

    Of every document the last token is sampled and then every `rate`-th before it, so that a walk towards the end of
    the document meets a sample before it meets the separator.

    Args:
        suffixes: the suffix array of the reversed stream.
        borders: see `reverse_text`.
        rate: tokens from sample to sample.
        marks: bits of which rows are sampled, written (without headers).
        samples: places of the sampled rows in the stream, written.
        documents: packed document numbers of all rows, written unless `width` is 0.
        width: bits of a document number.
    """
    rows = len(suffixes)
    guesses = np.empty((rows >> 6) + 1, np.int64)
    document = 0
    for guess in range(len(guesses)):
        while borders[document + 1] <= guess << 6 and document + 2 < len(borders):
            document += 1
        guesses[guess] = document
    sampled = 0
    for row in range(rows):
        place = rows - 1 - np.int64(suffixes[row])
        document = guesses[place >> 6]
        while borders[document + 1] <= place:
            document += 1
        if width > 0:
            put_packed(documents, width, row, document)
        if place > borders[document] and (borders[document + 1] - 1 - place) % rate == 0:
            marks[word_at(0, row >> 6)] |= np.uint64(1) << np.uint64(row & 63)
            samples[sampled] = place
            sampled += 1


@kernel
def split_level(
    sequence: NDArray[np.int32],
    turns: NDArray[np.uint8],
    bits: NDArray[np.uint64],
    first: int,
    zeros: int,
    children: NDArray[np.int32],
) -> None:
    """Write the bits of one level of the wavelet tree, and sort its sequence by them for the next level.

    Args:
        sequence: leaf numbers in the order of this level.
        turns: the bit of every leaf on this level.
        bits: the bit vectors of all levels, written (without headers).
        first: the level's first block.
        zeros: how many of the level's bits are 0.
        children: leaf numbers with bit 0, then those with bit 1, each in their order; written.
    """
    zero, one = 0, zeros
    for word in range((len(sequence) + 63) >> 6):
        collected = np.uint64(0)
        for i in range(word << 6, min((word + 1) << 6, len(sequence))):
            leaf = sequence[i]
            turn = turns[leaf]
            collected |= np.uint64(turn) << np.uint64(i & 63)
            children[one if turn else zero] = leaf
            one += turn
            zero += 1 - turn
        bits[word_at(first, word)] = collected
