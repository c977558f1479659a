"""FAISS factory strings: the choice of `auto`, checks of strings, and the training of an index."""

from __future__ import annotations

import contextlib
import logging
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnemodex.indexers.base import IndexStats
from mnemodex.indexers.dense.devices import clustering_on_gpu, use_threads
from mnemodex.indexers.encoders.configuration import stated_dimension
from mnemodex.indexers.models.locate import locate
from mnemodex.schemas.errors import ModelError, RecipeError
from mnemodex.schemas.sections import Embedding

if TYPE_CHECKING:
    from mnemodex.indexers.dense.vectors import Vectors
    from mnemodex.indexers.vector_settings import Metric, VectorSettings
    from mnemodex.schemas.recipe import Recipe

logger = logging.getLogger(__name__)

FLAT_ROWS = 20_000
"""Up to here exact search is as good as free: 18,479 vectors of 384 dimensions answer 513 queries a second on one core,
5,400 in batches."""

HNSW_ROWS = 2_000_000
"""Up to here a graph answers most: 8,032 queries a second of one core against 3,057 of inverted lists, both with recall
0.96 to 0.97 over 18,479 rows. But each shard's graph is searched from its top, and from a few shards on lists are
better: their shards share the centroids, and are searched in as few lists as one index."""

LISTS = ((10_000_000, 16_384), (300_000_000, 65_536))
"""Rows below which so many inverted lists are used: about 4 to 5 sqrt(rows) as a power of two (autofaiss' table)."""

MOST_LISTS = 131_072

TRAINED = "trained.faiss"

POINTS_PER_LIST = 100
"""Training points a centroid (autofaiss' figure)."""

FEWEST_POINTS_PER_LIST = 31
"""Below so many the centroids are little better than random rows (autofaiss' floor)."""

CODE_POINTS = 65_536
"""Points that FAISS trains product quantizers and rotations with at most: 256 for each of 256 centroids."""

_LONGEST, _MOST = 200, 1 << 21
"""Characters of a factory string, and the largest number in it."""

_LIKELY_DIMENSIONS = (768, 384, 1024, 1536)


def auto_factory(rows: int) -> str:
    """Return the factory string for an index of so many rows in all its shards.

    `Flat` up to 20,000 rows, `HNSW32` up to two million, then inverted lists whose centroids are found by a graph and
    whose vectors are kept in 8 bits a dimension: that is a quarter of the memory and loses next to no recall (0.991 for
    8 bits and for float32 at the same setting of an HNSW).
    """
    if rows <= FLAT_ROWS:
        return "Flat"
    if rows <= HNSW_ROWS:
        return "HNSW32"
    return f"IVF{list_count(rows)}_HNSW32,SQ8"


def list_count(rows: int) -> int:
    """Return how many inverted lists so many rows are kept in: a power of two."""
    if rows <= HNSW_ROWS:
        # Enough rows for the training of each, and some 2 to 4 sqrt(rows).
        most = min(4 * math.isqrt(rows), rows // POINTS_PER_LIST)
        return 1 << max(0, most.bit_length() - 1)
    return next((lists for below, lists in LISTS if rows < below), MOST_LISTS)


def faiss_metric(metric: Metric) -> int:
    """Return FAISS's number of a metric."""
    import faiss

    return int(faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2)


def check_settings(index: str, settings: VectorSettings, recipe: Recipe) -> None:
    """Refuse a factory string that fits no likely dimension, before anything is embedded; errors as of `make_index`."""
    if settings.engine != "faiss" or settings.factory == "auto":
        return
    problems = []
    for dimension in (*_stated_dimension(settings, recipe), *_LIKELY_DIMENSIONS):
        try:
            make_index(settings.factory, dimension, settings.metric)
        except RecipeError as error:
            problems.append(error)
        else:
            return
    raise problems[0]


def _stated_dimension(settings: VectorSettings, recipe: Recipe) -> tuple[int, ...]:
    """Return what the index's model says of itself, where it is on this machine."""
    entry = recipe.embed.get(getattr(settings, "embed", None) or "")
    if not isinstance(entry, Embedding) or not (entry.model.startswith("pkg:") or Path(entry.model).exists()):
        return ()
    with contextlib.suppress(ModelError, ValueError):
        stated = stated_dimension(locate(entry.model))
        return () if stated is None else (stated,)
    return ()


def make_index(factory: str, dimension: int, metric: Metric) -> Any:
    """Make the empty FAISS index that a factory string describes.

    Raises:
        RecipeError: the string is no factory string, does not fit the dimension or metric, or names an index that rows
            cannot be added to in batches, that keeps ids of its own, or whose scores are not those of the metric.
    """
    import faiss

    _check_numbers(factory)
    try:
        index = faiss.index_factory(dimension, factory, faiss_metric(metric))
    except RuntimeError as error:
        raise RecipeError(
            f"factory {factory!r} is no FAISS index of {dimension} dimensions with metric {metric} "
            f"({_faiss_reason(error)}); use `auto`, or a string of https://github.com/facebookresearch/faiss/wiki/The-index-factory"
        ) from error
    if isinstance(index, faiss.IndexIDMap | faiss.IndexIDMap2):
        raise RecipeError(f"factory {factory!r}: leave IDMap out, chunk ids are kept next to the index")
    if isinstance(leaf(index), faiss.IndexLSH):
        raise RecipeError(f"factory {factory!r}: LSH scores by bits that differ, not by the metric; use RaBitQ instead")
    if isinstance(leaf(index), faiss.IndexNSG | faiss.IndexNNDescent):
        raise RecipeError(f"factory {factory!r}: NSG and NNDescent graphs cannot grow batch by batch; use HNSW instead")
    return index


def _check_numbers(factory: str) -> None:
    """Refuse strings by which FAISS would divide by zero, overflow its integers or the stack, and end the process."""
    if len(factory) > _LONGEST:
        raise RecipeError(f"factory {factory[:_LONGEST]!r}…: has {len(factory)} characters; use {_LONGEST} at most")
    if not (factory.isascii() and factory.isprintable()):
        raise RecipeError(f"factory {factory!r}: has other characters than those of ASCII; leave them out")
    for number in map(int, re.findall(r"[0-9]+", factory)):
        if not 1 <= number <= _MOST:
            raise RecipeError(f"factory {factory!r}: {number} is out of range; use numbers from 1 to {_MOST}")


def _faiss_reason(error: RuntimeError) -> str:
    """Return FAISS's message without the place in its sources."""
    text = str(error).rsplit("Error: ", maxsplit=1)[-1].splitlines()[0]
    return text.rsplit(".cpp:", maxsplit=1)[-1].partition(": ")[2] or text


def leaf(index: Any) -> Any:
    """Return the index that is searched in the end, behind vector transforms and refinement, with its own class."""
    import faiss

    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return leaf(index.index)
    if isinstance(index, faiss.IndexRefine):
        return leaf(index.base_index)
    return index


def train_index(factory: str, metric: Metric, vectors: Vectors, out: Path, *, seed: int) -> IndexStats:
    """Train the index of a factory string on a uniform sample, and write it, without rows, to `trained.faiss`.

    The sample is held in memory as float32: 100 rows a list (6.6 million for 65,536 lists), or 65,536 rows if that is
    more. Too few rows for the factory string are a `RecipeError`.
    """
    import faiss

    index = make_index(factory, vectors.dimension, metric)
    lists = int(getattr(leaf(index), "nlist", 0))
    if 0 < len(vectors) < FEWEST_POINTS_PER_LIST * lists:
        message = "factory %s has %d lists for %d rows, but good lists take %d rows each; use `auto` or fewer lists"
        logger.warning(message, factory, lists, len(vectors), FEWEST_POINTS_PER_LIST)
    if hasattr(leaf(index), "do_polysemous_training"):
        # It orders centroids so that codes can be compared bit by bit, which no search does; of 8 bits, for minutes.
        leaf(index).do_polysemous_training = False
    sample = vectors.sample(sample_size(index), seed=seed)
    use_threads()
    try:
        with clustering_on_gpu(index):
            index.train(sample)
    except RuntimeError as error:
        raise RecipeError(
            f"factory {factory!r} cannot be trained with {len(sample)} rows ({_faiss_reason(error)}); "
            "use `auto`, or fewer lists or smaller codes"
        ) from error
    faiss.write_index(index, str(out / TRAINED))
    return IndexStats(rows=len(sample))


def sample_size(index: Any) -> int:
    """Return how many rows an index is trained with."""
    return max(POINTS_PER_LIST * int(getattr(leaf(index), "nlist", 0)), CODE_POINTS)
