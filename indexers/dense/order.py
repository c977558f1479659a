"""Insertion orders of a graph index.

A graph depends on the order in which it was grown: sorted input can cost a large part of its recall, and rows of high
local intrinsic dimensionality first can gain some (Elliott and Clark, "The Impacts of Data, Ordering, and Intrinsic
Dimensionality on Recall in Hierarchical Navigable Small Worlds", 2024).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.dense.devices import use_threads
from mnemodex.indexers.dense.vectors import BLOCK_BYTES, exact_search

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Float32s, Float64s, Int64s
    from mnemodex.indexers.dense.vectors import Vectors
    from mnemodex.indexers.vector_settings import Order

NEIGHBOURS = 20
"""Neighbours of the LID estimate: fewer make it noisy, more make it less local."""


def insertion_order(order: Order, vectors: Vectors, *, seed: int) -> Int64s:
    """Return the row to insert at each position: a permutation of the rows, int64 of shape (rows,).

    The two `lid` orders compare all pairs of rows, so their time grows with the square of the shard (about 1,000 s for
    a million rows of 384 dimensions at one TFLOP/s), and they and `cluster` hold the shard's vectors in memory once.
    """
    rows = np.arange(len(vectors), dtype=np.int64)
    if order == "as_is" or len(rows) < 2:
        return rows
    if order == "shuffle":
        return np.random.default_rng(seed).permutation(rows)
    if order == "cluster":
        return np.argsort(_clusters(vectors.take(rows), seed), kind="stable")
    dimensionality = local_intrinsic_dimensionality(vectors.take(rows))
    return np.argsort(-dimensionality if order == "lid_desc" else dimensionality, kind="stable")


def hold_out(order: Int64s, count: int, *, seed: int) -> Int64s:
    """Move a uniform sample of `count` rows to the end of the order; the others stay in theirs."""
    last = np.zeros(len(order), dtype=bool)
    # Another stream than the shuffle's, which would otherwise choose the same numbers.
    last[np.random.default_rng((seed, 1)).choice(len(order), count, replace=False, shuffle=False)] = True
    return np.concatenate([order[~last], order[last]])


def local_intrinsic_dimensionality(matrix: Float32s) -> Float64s:
    """Return the maximum-likelihood estimate of each row's local intrinsic dimensionality, of shape (rows,).

    With r_1 ... r_k the Euclidean distances to the k nearest other rows, LID = -1 / mean(ln(r_i / r_k)) (Levina and
    Bickel, 2004; in this form Amsaleg et al., "Estimating Local Intrinsic Dimensionality", 2015). Rows at distance 0
    are left out; a row with nothing but copies around it has dimensionality 0, one whose neighbours are all equally far
    has infinity. The matrix has at least two rows.
    """
    rows = len(matrix)
    k = min(NEIGHBOURS, rows - 1)
    blocks = np.array_split(matrix, -(-matrix.nbytes // BLOCK_BYTES))
    scores, nearest = exact_search(matrix, blocks, k + 1, metric="l2", gpu=True)
    # Among copies of a row the row itself may not be in the list; then the last place is the one too many.
    itself = nearest == np.arange(rows)[:, None]
    itself[~itself.any(axis=1), k] = True
    squares = np.maximum(-scores[~itself].reshape(rows, k).astype(np.float64), 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = 0.5 * np.log(squares / squares[:, -1:])
        valid = np.isfinite(logs)
        estimate = -valid.sum(axis=1) / np.where(valid, logs, 0).sum(axis=1)
    return np.where(valid.any(axis=1), np.abs(estimate), 0.0)


def _clusters(matrix: Float32s, seed: int) -> Int64s:
    """Return the k-means cluster of each row, among about sqrt(rows) clusters."""
    import faiss

    use_threads()
    count = max(1, int(np.sqrt(len(matrix))))
    gpu = faiss.get_num_gpus() > 0
    kmeans = faiss.Kmeans(matrix.shape[1], count, niter=10, seed=seed, gpu=gpu, min_points_per_centroid=1)
    kmeans.train(matrix)
    return kmeans.assign(matrix)[1]
