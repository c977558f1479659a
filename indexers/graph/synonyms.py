"""Names that are nearly the same: pairs of entities whose vectors are close."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from mnemodex.indexers.arrays import Bools, Float32s, Int32s, Int64s

THRESHOLD = 0.8
"""The least cosine of two synonyms (HippoRAG's)."""
LIMIT = 100
"""The most synonyms that a node chooses (HippoRAG's)."""

FEW = 1 << 28
"""Pairs that are all compared: those of 23,000 names, or of 268 new ones with a million."""
_CELLS_OF_A_NAME = 6
"""Two names are compared where they share one of the cells that are nearest to each."""
_POINTS = 40
"""Names for each centre that the centres are trained with."""
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


class Matrix(Protocol):
    """Vectors that are read by their numbers: an array, mapped or not, or several."""

    def __getitem__(self, rows: Int64s, /) -> Float32s:
        """Return rows in the order given, float32 of shape (n, dimension)."""


def comparable(names: pa.Array) -> Bools:
    """Return which names, in normal form, say enough to be compared: those of more than two letters and digits.

    The limit is HippoRAG's, in bytes of UTF-8, so that a name of one or two ideographs, which say as much as a word, is
    compared.
    """
    import pyarrow.compute as pc

    letters = pc.binary_length(pc.replace_substring(names, " ", ""))
    return np.asarray(pc.greater(letters, 2).to_numpy(zero_copy_only=False), dtype=np.bool_)


def find_pairs(vectors: Matrix, new: Int64s, old: Int64s, threshold: float = THRESHOLD) -> Iterator[Synonyms]:
    """Yield the pairs of `pairs`; where all are too many to compare, those that share a cell, and some repeatedly.

    Cells are those of k-means over a sample of the rows. What is yielded has its exact cosine either way.
    """
    if len(new) * (len(old) + len(new) / 2) <= FEW:
        yield from pairs(vectors, new, old, threshold)
        return
    rows = np.concatenate([old, new])
    cells = _cells(vectors, rows)
    order = np.argsort(cells.reshape(-1), kind="stable")
    bounds = np.searchsorted(cells.reshape(-1)[order], np.arange(cells.max() + 2))
    for start, stop in itertools.pairwise(bounds):
        members = np.sort(order[start:stop] // _CELLS_OF_A_NAME)
        first_new = np.searchsorted(members, len(old))
        yield from pairs(vectors, rows[members[first_new:]], rows[members[:first_new]], threshold)


def _cells(vectors: Matrix, rows: Int64s) -> Int32s:
    """Return the nearest cells of each row, int32 of shape (rows, _CELLS_OF_A_NAME)."""
    import faiss

    from mnemodex.indexers.dense.vectors import sample_rows

    count = 1 << round(math.log2(math.sqrt(32 * len(rows))))
    sample = vectors[rows[sample_rows(len(rows), _POINTS * count, seed=0)]]
    clustering = faiss.Kmeans(
        sample.shape[1],
        count,
        niter=6,
        spherical=True,
        seed=1,
        min_points_per_centroid=1,
        max_points_per_centroid=_POINTS,
    )
    clustering.train(sample)
    cells = np.empty((len(rows), _CELLS_OF_A_NAME), np.int32)
    for start in range(0, len(rows), 1 << 16):
        part = slice(start, start + (1 << 16))
        cells[part] = clustering.index.search(vectors[rows[part]], _CELLS_OF_A_NAME)[1]
    return cells


def pairs(vectors: Matrix, new: Int64s, old: Int64s, threshold: float = THRESHOLD) -> Iterator[Synonyms]:
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


def _exact_pairs(vectors: Matrix, one: Int64s, other: Int64s, threshold: float) -> Synonyms:
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
