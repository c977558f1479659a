"""The choice of a FAISS index by the memory that it may take.

Where an index that holds vectors does not fit, codes take their place, and the hits that these promise are compared by
the vectors on disk, as DiskANN does (Subramanya et al., "DiskANN: Fast Accurate Billion-point Nearest Neighbor Search
on a Single Node", 2019). Codes are RaBitQ's (Gao and Long, "RaBitQ: Quantizing High-Dimensional Vectors with a
Theoretical Error Bound for Approximate Nearest Neighbor Search", 2024), which need no training, or shorter ones of a
product quantizer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.indexers.dense.factory import HNSW_ROWS, auto_factory, leaf, list_count, make_index
from mnemodex.schemas.errors import RecipeError

if TYPE_CHECKING:
    from mnemodex.indexers.settings import Metric, Refine, VectorSettings

_ID_BYTES = 8
"""Of a row's number in a list."""

_LINK_BYTES = 4
_GRAPH_NODE_BYTES = 24
"""Of a node of a graph besides its links on the lowest level: its level, its offset, and its share of higher levels."""

_CODES = ("SQ8", "RaBitQ4", "RaBitQ2", "RaBitQ")
"""Codes from the longest to the shortest: 8, some 4.5, 2.5 and 1.2 bits a dimension."""

_SHORTEST = 16
"""Dimensions of a byte of the shortest code, a product quantizer's."""


def choose_factory(settings: VectorSettings, rows: int, dimension: int) -> tuple[str, Refine | None]:
    """Return the FAISS factory string of an index of so many rows, and how its hits are refined.

    A memory budget that no index fits is a `RecipeError`.
    """
    if settings.factory != "auto":
        return settings.factory, settings.refine
    if settings.memory_budget is None:
        return auto_factory(rows), None
    factory, refined = factory_within(rows, dimension, settings.metric, settings.memory_budget)
    return factory, "auto" if refined else None


def factory_within(rows: int, dimension: int, metric: Metric, budget: int) -> tuple[str, bool]:
    """Return the factory string of an index of at most `budget` bytes in memory, and whether it is refined.

    It is that of `auto_factory` where this fits, else one of inverted lists with the longest codes that fit.

    Raises:
        RecipeError: no index of so many rows is so small.
    """
    factory = auto_factory(rows)
    if index_bytes(factory, rows, dimension, metric) <= budget:
        return factory, False
    lists = list_count(rows)
    coarse = f"IVF{lists}_HNSW32" if rows > HNSW_ROWS else f"IVF{lists}"
    sizes = {
        factory: index_bytes(factory, rows, dimension, metric)
        for factory in (f"{coarse},{codes}" for codes in (*_CODES, f"PQ{_parts(dimension)}"))
    }
    for factory, needed in sizes.items():
        if needed <= budget:
            return factory, True
    needed, factory = min((needed, factory) for factory, needed in sizes.items())
    raise RecipeError(
        f"memory_budget of {budget:,} bytes: an index of {rows:,} vectors of {dimension} dimensions takes {needed:,} "
        f"bytes at least ({factory}); allow that, or index fewer rows"
    )


def index_bytes(factory: str, rows: int, dimension: int, metric: Metric) -> int:
    """Return what an index of so many rows holds in memory: vectors or codes, ids, links and centroids."""
    import faiss

    index = make_index(factory, dimension, metric)
    searched = leaf(index)
    if isinstance(searched, faiss.IndexIVF):
        centroids = searched.nlist * _node_bytes(searched.quantizer)
        return int(rows * (searched.code_size + _ID_BYTES) + centroids + _table_bytes(searched))
    return rows * _node_bytes(searched)


def _node_bytes(index: Any) -> int:
    """Return the bytes of a row of an index without lists."""
    import faiss

    found: Any = faiss.downcast_index(index)
    if isinstance(found, faiss.IndexHNSW):
        graph: Any = found.hnsw
        return _node_bytes(found.storage) + _LINK_BYTES * int(graph.nb_neighbors(0)) + _GRAPH_NODE_BYTES
    return int(found.sa_code_size())


def _table_bytes(lists: Any) -> int:
    """Return the bytes of a product quantizer's centroids, and of the table of their distances that L2 makes."""
    import faiss

    if not isinstance(lists, faiss.IndexIVFPQ):
        return 0
    centroids = 4 * lists.pq.ksub * lists.d
    distances = 4 * lists.nlist * lists.pq.M * lists.pq.ksub
    # FAISS makes none that is larger; its stubs lack the limit.
    limits: Any = faiss.cvar
    made = lists.metric_type == faiss.METRIC_L2 and distances <= limits.precomputed_table_max_bytes
    return int(centroids + made * distances)


def _parts(dimension: int) -> int:
    """Return the bytes of the shortest code: a divisor of the dimension, one byte for 16 numbers or more."""
    most = max(1, dimension // _SHORTEST)
    return next(parts for parts in range(most, 0, -1) if dimension % parts == 0)
