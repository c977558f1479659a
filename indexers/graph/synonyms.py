"""Names that are nearly the same: pairs of entities whose vectors are close."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

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
    """Pairs of rows.

    Attributes:
        left: int32 of shape (pairs,).
        right: int32 of shape (pairs,), each greater than its left.
        cosine: float32 of shape (pairs,).
    """

    left: NDArray[np.int32]
    right: NDArray[np.int32]
    cosine: NDArray[np.float32]


def comparable(names: pa.Array) -> NDArray[np.bool_]:
    """Which names say enough to be compared: those of more than two letters and digits, as in HippoRAG.

    Counted in bytes of UTF-8, so that a name of one or two ideographs, which say as much as a word, is compared.

    Args:
        names: normal forms, of shape (entities,).
    """
    import pyarrow.compute as pc

    letters = pc.binary_length(pc.replace_substring(names, " ", ""))
    return np.asarray(pc.greater(letters, 2).to_numpy(zero_copy_only=False), dtype=np.bool_)


def pairs(
    vectors: NDArray[np.float32],
    new: NDArray[np.int64],
    old: NDArray[np.int64],
    threshold: float = THRESHOLD,
) -> Iterator[Synonyms]:
    """All pairs of a new row with a new or an old one whose cosine reaches the threshold.

    Each pair comes once, and its cosine does not depend on what else is compared: what a sequence of additions finds is
    what one build finds. It costs a multiplication of the new rows with all rows, in blocks of 16 MiB.

    Args:
        vectors: float32 of shape (rows, dimension), of length 1; may be mapped.
        new: rows to compare with one another and with the old.
        old: rows that were compared with one another before; none of them new.
        threshold: the least cosine.

    Yields:
        The pairs of a block, in no certain order.
    """
    for start in range(0, len(new), _ROWS):
        rows = new[start : start + _ROWS]
        block = np.asarray(vectors[rows])
        # What stands before this block among the new rows has met it already.
        others = np.concatenate([old, new[start:]])
        for first in range(0, len(others), _ROWS):
            columns = others[first : first + _ROWS]
            close = np.flatnonzero(block @ vectors[columns].T >= threshold - _SLACK)
            place, column = np.divmod(close, len(columns))
            twice = (first + column >= len(old)) & (first + column - len(old) <= place)
            yield _exactly(vectors, rows[place[~twice]], columns[column[~twice]], threshold)


def _exactly(
    vectors: NDArray[np.float32], one: NDArray[np.int64], other: NDArray[np.int64], threshold: float
) -> Synonyms:
    """Keep what reaches the threshold in double precision: how a product of matrices rounds depends on its shape."""
    cosine = np.empty(len(one))
    for start in range(0, len(one), _EXACT):
        part = slice(start, start + _EXACT)
        products = np.multiply(vectors[one[part]], vectors[other[part]], dtype=np.float64)
        np.add.reduce(products, axis=1, out=cosine[part])
    keep = cosine >= threshold
    one, other = one[keep], other[keep]
    return Synonyms(
        np.minimum(one, other).astype(np.int32),
        np.maximum(one, other).astype(np.int32),
        cosine[keep].astype(np.float32),
    )


def strongest(synonyms: Synonyms, rows: int, limit: int = LIMIT) -> NDArray[np.bool_]:
    """Which pairs are among the best of one of their ends, at least; of equal cosines the smaller row is better.

    A choice among all pairs, made when a graph is assembled: a node's best change with every addition and deletion.

    Args:
        synonyms: all pairs.
        rows: how many rows there are.
        limit: how many a row chooses.

    Returns:
        Bools of shape (pairs,). Takes 32 bytes for each pair of a row that has more than it may choose.
    """
    left, right, cosine = synonyms
    crowded = np.bincount(left, minlength=rows) + np.bincount(right, minlength=rows) > limit
    keep: NDArray[np.bool_] = ~(crowded[left] & crowded[right])
    from_left, from_right = np.flatnonzero(crowded[left]), np.flatnonzero(crowded[right])
    pair = np.concatenate([from_left, from_right])
    node = np.concatenate([left[from_left], right[from_right]])
    other = np.concatenate([right[from_left], left[from_right]])
    order = np.lexsort((other, -cosine[pair], node))
    first = np.searchsorted(node[order], node[order])
    keep[pair[order[np.arange(len(order)) - first < limit]]] = True
    return keep
