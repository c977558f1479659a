"""Exact search over vectors that need not fit into memory, and exact scores of given pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.dense.factory import faiss_metric
from mnemodex.indexers.dense.threads import use_threads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from mnemodex.indexers.dense.settings import Metric

GPU_MOST_K = 2048
"""FAISS's limit of k on a GPU."""


def exact_search(
    queries: NDArray[np.float32],
    blocks: Iterable[NDArray[np.float32]],
    k: int,
    *,
    metric: Metric,
    gpu: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k best rows of each query, block by block.

    Args:
        queries: shape (q, d).
        blocks: matrices of shape (n_i, d); together they have k rows at least.
        k: rows wanted.
        metric: what ranks.
        gpu: use the GPUs, if there are any. It takes a moment to start, which pays for many queries only.

    Returns:
        Scores (higher is better) and row numbers over all blocks, both of shape (q, k), best first.
    """
    from faiss.contrib import exhaustive_search

    use_threads()
    ngpu = -1 if gpu and k <= GPU_MOST_K else 0
    # FAISS has no types for its contributed modules.
    search: Any = exhaustive_search.knn_ground_truth
    scores, rows = search(queries, blocks, k, faiss_metric(metric), ngpu=ngpu)
    return (scores if metric == "ip" else -scores), rows


def pair_scores(queries: NDArray[np.float32], vectors: NDArray[np.float32], metric: Metric) -> NDArray[np.float64]:
    """Scores in double precision, so that equal vectors get equal scores in whatever batch they are.

    Args:
        queries: shape (q, d).
        vectors: shape (q, k, d).
        metric: as in the index.

    Returns:
        Shape (q, k), higher is better.
    """
    wide = queries.astype(np.float64)
    scores: NDArray[np.float64]
    if metric == "ip":
        scores = np.einsum("qd,qkd->qk", wide, vectors.astype(np.float64))
    else:
        difference = wide[:, None, :] - vectors
        scores = -np.einsum("qkd,qkd->qk", difference, difference)
    return scores
