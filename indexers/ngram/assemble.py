"""From spooled symbols to the files of a shard: code, suffix array, transform, wavelet tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.arrays import save_arrays
from mnemodex.indexers.compiled import kernel
from mnemodex.indexers.ngram import tree
from mnemodex.indexers.ngram.ragged import offsets_of
from mnemodex.indexers.ngram.shard import create_array, write_description
from mnemodex.indexers.ngram.tree import CODE, FIRST, SIZE, ZEROS, Code, make_code, put_packed, word_at

if TYPE_CHECKING:
    from pathlib import Path

    from mnemodex.indexers.arrays import Array, Int32s, Int64s, Uint8s, Uint32s, Uint64s
    from mnemodex.indexers.ngram.build import BuildOptions
    from mnemodex.indexers.ngram.ragged import Vocabulary


def assemble(
    folder: Path, symbols: Int32s, lengths: Int64s, frequencies: Int64s, vocabulary: Vocabulary, options: BuildOptions
) -> dict[str, Any]:
    """Build one field of a shard, and return its stats, as its description holds them.

    The stream is a separator before every document, reversed as a whole, so that backward search extends an n-gram to
    the right. It ends with a separator, whose suffix is the shortest; rows of separators are never asked for, so no
    further end mark is needed.

    The symbols are those of documents of these lengths, at least one, one document after the other; they are read once.
    Frequencies say how often each symbol occurs, the separator being the last.
    """
    borders = offsets_of(lengths + 1)
    rows = int(borders[-1])
    code = make_code(frequencies)
    text = np.empty((rows, 2 if len(code.leaves) <= 1 << 16 else 3), dtype=np.uint8)
    _reverse_text(symbols, borders, code.leaf_of, text)
    suffixes = sort_suffixes(text)
    # The suffix array of bytes leaves room behind that of symbols: for the transform here, for sorting by levels below.
    _transform(suffixes[:rows], text, suffixes[rows : 2 * rows])
    del text
    width = tree.packed_bits(len(lengths) - 1) if options.document_array else 0
    _write_places(folder, suffixes[:rows], borders, lengths, options.sample_rate, width)
    _write_tree(folder, code, suffixes[rows : 2 * rows], suffixes[:rows])
    arrays: dict[str, Array] = {"leaves": code.leaves, "levels": code.levels, "leaf_of": code.leaf_of}
    save_arrays(folder, borders=borders, vocabulary=vocabulary.ids, **arrays)
    names = ["bits", *arrays, "borders", "marks", "samples", "vocabulary", *["documents"] * options.document_array]
    stats = {
        "rows": rows,
        "documents": len(lengths),
        "tokens": rows - len(lengths),
        "sample_rate": options.sample_rate,
        "document_bits": width,
        "vocabulary_sha256": vocabulary.sha256,
    }
    write_description(folder, names, stats)
    return stats


def sort_suffixes(text: Uint8s) -> Int32s:
    """Sort the suffixes of a text of big-endian symbols, of shape (rows, bytes a symbol).

    Return an int32 array of shape (rows * bytes a symbol,), whose first `rows` elements are the suffix array; the rest
    is free.
    """
    from pydivsufsort import divsufsort

    suffixes: Int32s = divsufsort(text.reshape(-1))
    _keep_symbol_starts(suffixes, text.shape[1])
    return suffixes


def _write_places(folder: Path, suffixes: Int32s, borders: Int64s, lengths: Int64s, rate: int, width: int) -> None:
    """Write the sampled places and, if `width` is not 0, the document array."""
    rows = len(suffixes)
    mark_blocks = tree.blocks_for(rows)
    marks = create_array(folder, "marks", mark_blocks * tree.BLOCK_WORDS, np.uint64)
    sampled = create_array(folder, "samples", int((-(-lengths // rate)).sum()), np.uint32)
    documents = np.empty(0, dtype=np.uint64)
    if width:
        documents = create_array(folder, "documents", tree.packed_words(rows, width), np.uint64)
    _annotate(suffixes, borders, rate, marks, sampled, documents, width)
    tree.write_headers(marks, 0, mark_blocks)


def _write_tree(folder: Path, code: Code, sequence: Int32s, free: Int32s) -> None:
    """Write the wavelet tree of a sequence of leaf numbers; the sequence and as long a free array are both used up."""
    bits = create_array(folder, "bits", code.blocks * tree.BLOCK_WORDS, np.uint64)
    for depth, level in enumerate(code.levels):
        first, size = int(level[FIRST]), int(level[SIZE])
        turns = (code.leaves[:, CODE] >> depth & 1).astype(np.uint8)
        _split_level(sequence[:size], turns, bits, first, int(level[ZEROS]), free)
        tree.write_headers(bits, first, tree.blocks_for(size))
        sequence, free = free, sequence


@kernel
def _reverse_text(symbols: Int32s, borders: Int64s, leaf_of: Int32s, text: Uint8s) -> None:
    """Write the stream backwards as big-endian leaf numbers, whose bytes sort as the numbers do.

    Args:
        symbols: the documents' symbols, one document after the other.
        borders: int64 array of shape (documents + 1,): where each document's separator is in the stream.
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
def _keep_symbol_starts(suffixes: Int32s, width: int) -> None:
    """Turn the suffix array of bytes into that of symbols, in place; it fills the front."""
    kept = 0
    for i in range(len(suffixes)):
        suffix = suffixes[i]
        symbol = np.int32(np.uint32(suffix) // np.uint32(width))
        # Written in any case and moved on only for a start: no branch that could be predicted wrongly.
        suffixes[kept] = symbol
        kept += symbol * width == suffix


@kernel
def _transform(suffixes: Int32s, text: Uint8s, sequence: Int32s) -> None:
    """Write the Burrows-Wheeler transform: of every row, the leaf number before its suffix (the text being a ring)."""
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
def _annotate(
    suffixes: Int32s, borders: Int64s, rate: int, marks: Uint64s, samples: Uint32s, documents: Uint64s, width: int
) -> None:
    """Write down where rows lie in the stream: the place of some, the document of all.

    Of every document the last token is sampled and then every `rate`-th before it, so that a walk towards the end of
    the document meets a sample before it meets the separator.

    Args:
        suffixes: the suffix array of the reversed stream.
        borders: as in `_reverse_text`.
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
def _split_level(sequence: Int32s, turns: Uint8s, bits: Uint64s, first: int, zeros: int, children: Int32s) -> None:
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
