"""Names that are nearly the same: pairs of entities whose vectors are close."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from mnemodex.indexers.arrays import Bools, Float32s, Int32s, Int64s

THRESHOLD = 0.8
"""The least cosine of two synonyms (HippoRAG's)."""
LIMIT = 100
"""The most synonyms that a node chooses (HippoRAG's)."""

_ROWS = 2048
"""Rows of either side of a block of cosines, which then takes 16 MiB."""
_SLACK = 1e-4
"""More than single precision is wrong by."""
_EXACT = 4096
"""Pairs that are computed in double precision at a time."""


class Synonyms(NamedTuple):
    """Pairs of rows, `left` less than `right`, int32 of shape (pairs,), and their cosines, float32."""

    left: Int32s
    right: Int32s
    cosine: Float32s


def comparable(names: pa.Array) -> Bools:
    """Return which names, in normal form, say enough to be compared: those of more than two letters and digits.

    The limit is HippoRAG's, in bytes of UTF-8, so that a name of one or two ideographs, which say as much as a word, is
    compared.
    """
    import pyarrow.compute as pc

    letters = pc.binary_length(pc.replace_substring(names, " ", ""))
    return np.asarray(pc.greater(letters, 2).to_numpy(zero_copy_only=False), dtype=np.bool_)


def pairs(vectors: Float32s, new: Int64s, old: Int64s, threshold: float = THRESHOLD) -> Iterator[Synonyms]:
    """Yield all pairs of a new row with a new or an old one whose cosine reaches the threshold, in no certain order.

    Each pair comes once, and its cosine does not depend on what else is compared: what a sequence of additions finds is
    what one build finds. It costs a multiplication of the new rows with all rows, in blocks of 16 MiB.

    Vectors are float32 of shape (rows, dimension), of length 1, and may be mapped. Old rows, none of which is new, were
    compared with one another before.
    """
    for start in range(0, len(new), _ROWS):
        rows = new[start : start + _ROWS]
        block = np.asarray(vectors[rows])
        # The new rows before this block were compared with it already.
        candidates = np.concatenate([old, new[start:]])
        for first in range(0, len(candidates), _ROWS):
            columns = candidates[first : first + _ROWS]
            close = np.flatnonzero(block @ vectors[columns].T >= threshold - _SLACK)
            row, column = np.divmod(close, len(columns))
            met = (first + column >= len(old)) & (first + column - len(old) <= row)
            yield _exact_pairs(vectors, rows[row[~met]], columns[column[~met]], threshold)


def _exact_pairs(vectors: Float32s, one: Int64s, other: Int64s, threshold: float) -> Synonyms:
    """Keep what reaches the threshold in double precision: how a product of matrices rounds depends on its shape."""
    cosine = np.empty(len(one))
    for start in range(0, len(one), _EXACT):
        part = slice(start, start + _EXACT)
        products = np.multiply(vectors[one[part]], vectors[other[part]], dtype=np.float64)
        np.add.reduce(products, axis=1, out=cosine[part])
    keep = cosine >= threshold
    ends = np.sort([one[keep], other[keep]], axis=0).astype(np.int32)
    return Synonyms(ends[0], ends[1], cosine[keep].astype(np.float32))


def strongest(synonyms: Synonyms, rows: int, limit: int = LIMIT) -> Bools:
    """Return which pairs are among the `limit` best of one of their ends; of equal cosines the smaller row is better.

    A choice among all pairs of `rows` rows, made when a graph is assembled: a node's best change with every addition
    and deletion. It takes 32 bytes for each pair of a row that has more than it may choose.
    """
    left, right, cosine = synonyms
    crowded = np.bincount(left, minlength=rows) + np.bincount(right, minlength=rows) > limit
    keep: Bools = ~(crowded[left] & crowded[right])
    from_left, from_right = np.flatnonzero(crowded[left]), np.flatnonzero(crowded[right])
    pair = np.concatenate([from_left, from_right])
    node = np.concatenate([left[from_left], right[from_right]])
    other = np.concatenate([right[from_left], left[from_right]])
    order = np.lexsort((other, -cosine[pair], node))
    first = np.searchsorted(node[order], node[order])
    keep[pair[order[np.arange(len(order)) - first < limit]]] = True
    return keep
