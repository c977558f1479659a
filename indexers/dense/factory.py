"""FAISS factory strings: what `auto` stands for, and which strings can be built here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.schemas.errors import RecipeError

if TYPE_CHECKING:
    from mnemodex.indexers.dense.settings import Metric, VectorSettings
    from mnemodex.schemas.recipe import Recipe

FLAT_ROWS = 20_000
"""Up to here exact search is as good as free: 18,479 vectors of 384 dimensions answer 513 queries a second on one core,
5,400 in batches."""

HNSW_ROWS = 2_000_000
"""Up to here a graph answers most: 8,032 queries a second of one core against 3,057 of inverted lists, both with recall
0.96 to 0.97 over 18,479 rows. But graphs do not merge, so each shard has to be searched, and from a few shards on lists
are better: they merge into one index."""

LISTS = ((10_000_000, 16_384), (300_000_000, 65_536))
"""Rows below which so many inverted lists are used: about 4 to 5 sqrt(rows) as a power of two (autofaiss' table)."""

MOST_LISTS = 131_072


def auto_factory(rows: int) -> str:
    """The factory string for an index of so many rows in all its shards.

    `Flat` up to 20,000 rows, `HNSW32` up to two million, then inverted lists whose centroids are found by a graph and
    whose vectors are kept in 8 bits a dimension: that is a quarter of the memory and loses next to no recall (0.991 for
    8 bits and for float32 at the same setting of an HNSW).
    """
    if rows <= FLAT_ROWS:
        return "Flat"
    if rows <= HNSW_ROWS:
        return "HNSW32"
    lists = next((lists for below, lists in LISTS if rows < below), MOST_LISTS)
    return f"IVF{lists}_HNSW32,SQ8"


def faiss_metric(metric: Metric) -> int:
    """FAISS's number of a metric."""
    import faiss

    return int(faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2)


_LIKELY_DIMENSIONS = (768, 384, 1024, 1536)


def check_settings(index: str, settings: VectorSettings, recipe: Recipe) -> None:
    """Refuse a factory string that FAISS does not know.

    Raises:
        RecipeError: as `make_index`.
    """
    if settings.engine == "faiss" and settings.factory != "auto":
        check_factory(settings.factory, settings.metric)


def check_factory(factory: str, metric: Metric) -> None:
    """Refuse a string that is a factory string for no likely dimension, before anything is embedded.

    Raises:
        RecipeError: as `make_index`.
    """
    for dimension in _LIKELY_DIMENSIONS:
        try:
            make_index(factory, dimension, metric)
        except RecipeError as error:
            problem = error
        else:
            return
    raise problem


def make_index(factory: str, dimension: int, metric: Metric) -> Any:
    """Make the empty FAISS index that a factory string describes.

    Raises:
        RecipeError: the string is no factory string, does not fit the dimension or metric, or names an index that rows
            cannot be added to in batches, that keeps ids of its own, or whose scores are not those of the metric.
    """
    import faiss

    try:
        index = faiss.index_factory(dimension, factory, faiss_metric(metric))
    except RuntimeError as error:
        raise RecipeError(
            f"factory {factory!r} is no FAISS index of {dimension} dimensions with metric {metric} "
            f"({faiss_reason(error)}); use `auto`, or a string of https://github.com/facebookresearch/faiss/wiki/The-index-factory"
        ) from error
    if isinstance(index, faiss.IndexIDMap | faiss.IndexIDMap2):
        raise RecipeError(f"factory {factory!r}: leave IDMap out, chunk ids are kept beside the index")
    if isinstance(leaf(index), faiss.IndexLSH):
        raise RecipeError(f"factory {factory!r}: LSH scores by bits that differ, not by the metric; use RaBitQ instead")
    if isinstance(leaf(index), faiss.IndexNSG | faiss.IndexNNDescent):
        raise RecipeError(f"factory {factory!r}: NSG and NNDescent graphs cannot grow batch by batch; use HNSW instead")
    return index


def faiss_reason(error: RuntimeError) -> str:
    """What FAISS has to say, without the place in its sources."""
    text = str(error).rsplit("Error: ", maxsplit=1)[-1].splitlines()[0]
    return text.rsplit(".cpp:", maxsplit=1)[-1].partition(": ")[2] or text


def leaf(index: Any) -> Any:
    """The index that is searched in the end: behind vector transforms and refinement, with its own class."""
    import faiss

    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return leaf(index.index)
    if isinstance(index, faiss.IndexRefine):
        return leaf(index.base_index)
    return index


def can_merge(index: Any) -> bool:
    """Whether shards of this index merge: inverted lists, also behind a transform, but without refinement."""
    import faiss

    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return can_merge(index.index)
    return isinstance(index, faiss.IndexIVF)
