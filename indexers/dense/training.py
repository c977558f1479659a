"""Training an index on a uniform sample of all partitions."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.base import IndexStats
from mnemodex.indexers.dense.factory import faiss_reason, leaf, make_index
from mnemodex.indexers.dense.gpu import clustering_on_gpu
from mnemodex.indexers.dense.threads import use_threads
from mnemodex.schemas.errors import RecipeError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mnemodex.indexers.dense.settings import Metric
    from mnemodex.indexers.dense.vectors import Vectors

logger = logging.getLogger(__name__)

FILE = "trained.faiss"

POINTS_PER_LIST = 100
"""Training points a centroid (autofaiss' figure)."""

FEWEST_POINTS_PER_LIST = 31
"""Below so many the centroids are little better than random rows (autofaiss' floor)."""

CODE_POINTS = 65_536
"""Points that FAISS trains product quantizers and rotations with at most: 256 for each of 256 centroids."""


def train_index(factory: str, metric: Metric, vectors: Vectors, out: Path, *, seed: int) -> IndexStats:
    """Train the index of a factory string and write it, without rows, to `trained.faiss`.

    The sample is held in memory as float32: 100 rows a list (6.6 million for 65,536 lists), or 65,536 rows if that is
    more.

    Raises:
        RecipeError: there are too few rows for this factory string.
    """
    import faiss

    index = make_index(factory, vectors.dimension, metric)
    lists = int(getattr(leaf(index), "nlist", 0))
    if 0 < len(vectors) < FEWEST_POINTS_PER_LIST * lists:
        logger.warning(
            "factory %s has %d lists for %d rows, but good lists take %d rows each; use `auto` or fewer lists",
            factory,
            lists,
            len(vectors),
            FEWEST_POINTS_PER_LIST,
        )
    rows = sample_rows(len(vectors), sample_size(lists), seed=seed)
    sample = vectors.take(rows)
    use_threads()
    try:
        with clustering_on_gpu(index):
            index.train(sample)
    except RuntimeError as error:
        raise RecipeError(
            f"factory {factory!r} cannot be trained with {len(sample)} rows ({faiss_reason(error)}); "
            "use `auto`, or fewer lists or smaller codes"
        ) from error
    faiss.write_index(index, str(out / FILE))
    return IndexStats(rows=len(sample))


def sample_size(lists: int) -> int:
    """Return how many rows an index of so many lists is trained with."""
    return max(POINTS_PER_LIST * lists, CODE_POINTS)


def sample_rows(rows: int, count: int, *, seed: int) -> NDArray[np.int64]:
    """A uniform sample without replacement of `count` of `rows` rows (all of them if there are no more), ascending."""
    if count >= rows:
        return np.arange(rows, dtype=np.int64)
    return np.sort(np.random.default_rng(seed).choice(rows, count, replace=False, shuffle=False))
