"""From spooled symbols to the files of a shard: code, suffix array, transform, wavelet tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.ngram import blocks, construct
from mnemodex.indexers.ngram.code import CODE, FIRST, SIZE, ZEROS, Code, make_code
from mnemodex.indexers.ngram.files import create_array, write_array, write_description

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mnemodex.indexers.ngram.vocabulary import Vocabulary


def assemble(
    folder: Path,
    symbols: NDArray[np.int32],
    lengths: NDArray[np.int64],
    frequencies: NDArray[np.int64],
    vocabulary: Vocabulary,
    *,
    sample_rate: int,
    document_array: bool,
) -> dict[str, Any]:
    """Build one field of a shard.

    The stream is a separator before every document, reversed as a whole, so that backward search extends an n-gram to
    the right. It ends with a separator, whose suffix is the shortest; rows of separators are never asked for, so no
    further end mark is needed.

    Args:
        folder: where to write.
        symbols: the documents' symbols, one document after the other; read once.
        lengths: the documents' lengths, at least one.
        frequencies: how often each symbol occurs, the separator being the last.
        vocabulary: the shared vocabulary.
        sample_rate: tokens between sampled places.
        document_array: whether to write the document of every row.

    Returns:
        The facts of the shard, as its description holds them.
    """
    borders = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths + 1, out=borders[1:])
    rows = int(borders[-1])
    code = make_code(frequencies)
    text = np.empty((rows, 2 if len(code.leaves) <= 1 << 16 else 3), dtype=np.uint8)
    construct.reverse_text(symbols, borders, code.leaf_of, text)
    suffixes = sort_suffixes(text)
    # The suffix array of bytes leaves room behind that of symbols: for the transform here, for sorting by levels below.
    construct.transform(suffixes[:rows], text, suffixes[rows : 2 * rows])
    del text
    width = blocks.packed_bits(len(lengths) - 1) if document_array else 0
    _write_places(folder, suffixes[:rows], borders, int((-(-lengths // sample_rate)).sum()), sample_rate, width)
    _write_tree(folder, code, suffixes[rows : 2 * rows], suffixes[:rows])
    for name, array in (
        ("borders", borders),
        ("leaves", code.leaves),
        ("levels", code.levels),
        ("leaf_of", code.leaf_of),
        ("vocabulary", vocabulary.ids),
    ):
        write_array(folder, name, array)
    names = ["bits", "leaves", "levels", "leaf_of", "borders", "marks", "samples", "vocabulary"]
    facts = {
        "rows": rows,
        "documents": len(lengths),
        "tokens": rows - len(lengths),
        "sample_rate": sample_rate,
        "document_bits": width,
        "vocabulary_sha256": vocabulary.sha256,
    }
    write_description(folder, names + ["documents"] * document_array, facts)
    return facts


def sort_suffixes(text: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Sort the suffixes of a text of symbols.

    Args:
        text: uint8 array of shape (rows, bytes a symbol), big-endian symbols.

    Returns:
        int32 array of shape (rows * bytes a symbol,), whose first `rows` elements are the suffix array; the rest is
        free.
    """
    from pydivsufsort import divsufsort

    suffixes: NDArray[np.int32] = divsufsort(text.reshape(-1))
    construct.keep_symbol_starts(suffixes, text.shape[1])
    return suffixes


def _write_places(
    folder: Path, suffixes: NDArray[np.int32], borders: NDArray[np.int64], samples: int, rate: int, width: int
) -> None:
    """Write the sampled places and, if `width` is not 0, the document array."""
    rows = len(suffixes)
    mark_blocks = blocks.blocks_for(rows)
    marks = create_array(folder, "marks", (mark_blocks * blocks.BLOCK_WORDS,), np.uint64)
    sampled = create_array(folder, "samples", (samples,), np.uint32)
    documents = np.empty(0, dtype=np.uint64)
    if width:
        documents = create_array(folder, "documents", (blocks.packed_words(rows, width),), np.uint64)
    construct.annotate(suffixes, borders, rate, marks, sampled, documents, width)
    blocks.write_headers(marks, 0, mark_blocks)


def _write_tree(folder: Path, code: Code, sequence: NDArray[np.int32], free: NDArray[np.int32]) -> None:
    """Write the wavelet tree of a sequence of leaf numbers; the sequence and as long a free array are both used up."""
    bits = create_array(folder, "bits", (code.blocks * blocks.BLOCK_WORDS,), np.uint64)
    for depth, level in enumerate(code.levels):
        first, size = int(level[FIRST]), int(level[SIZE])
        turns = (code.leaves[:, CODE] >> depth & 1).astype(np.uint8)
        construct.split_level(sequence[:size], turns, bits, first, int(level[ZEROS]), free)
        blocks.write_headers(bits, first, blocks.blocks_for(size))
        sequence, free = free, sequence
