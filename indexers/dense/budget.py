"""The choice of a FAISS index by the memory that it may take.

Where an index that holds vectors does not fit, codes take their place, and the hits that these promise are compared by
the vectors on disk, as DiskANN does (Subramanya et al., "DiskANN: Fast Accurate Billion-point Nearest Neighbor Search
on a Single Node", 2019). Codes are RaBitQ's (Gao and Long, "RaBitQ: Quantizing High-Dimensional Vectors with a
Theoretical Error Bound for Approximate Nearest Neighbor Search", 2024), which need no training, or shorter ones of a
product quantizer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mnemodex.indexers.dense.factory import HNSW_ROWS, auto_factory, leaf, list_count, make_index
from mnemodex.schemas.errors import RecipeError

if TYPE_CHECKING:
    from mnemodex.indexers.vector_settings import Metric, Refine, VectorSettings

_VECTOR_BYTES = 4
"""Of a number of a vector."""

_ID_BYTES = 8
"""Of a row's number in a list."""

_COUNT_BYTES = 8
"""Of a list's length."""

_SETTINGS_BYTES = 512
"""Of what FAISS keeps of an index, and of the one that finds its lists, besides all that grows."""

_LINK_BYTES = 4
_GRAPH_NODE_BYTES = 24
"""Of a node of a graph besides its links on the lowest level: its level, its offset, and its share of higher levels."""

_CODES = ("SQ8", "RaBitQ4", "RaBitQ2", "RaBitQ")
"""Codes from the longest to the shortest: 8, some 4.5, 2.5 and 1.2 bits a dimension."""

_SHORTEST = 16
"""Dimensions of a byte of the shortest code, a product quantizer's."""


class Choice(NamedTuple):
    """A FAISS index: its factory string, how its hits are refined, and how many rows go into a shard at most."""

    factory: str
    refine: Refine | None
    shard_rows: int


def choose_factory(settings: VectorSettings, rows: int, dimension: int) -> Choice:
    """Return the FAISS index of so many rows.

    Within a memory budget it is that of `auto_factory` where this fits, else one of inverted lists with the longest
    codes that fit. Their shards have as many bytes as others, so more rows, unless the settings say how many: each
    shard has centroids of its own, and is asked for hits of its own, whose vectors are read.

    Raises:
        RecipeError: no index of so many rows fits the budget.
    """
    budget, shard_rows = settings.memory_budget, settings.shard_rows
    if settings.factory != "auto":
        return Choice(settings.factory, settings.refine, shard_rows)
    whole = Choice(auto_factory(rows), None, shard_rows)
    if budget is None or index_bytes(whole.factory, rows, dimension, settings.metric, shard_rows) <= budget:
        return whole
    given = shard_rows != type(settings).model_fields["shard_rows"].default
    lists = list_count(rows)
    coarse = f"IVF{lists}_HNSW32" if rows > HNSW_ROWS else f"IVF{lists}"
    sizes: dict[Choice, int] = {}
    for codes in (*_CODES, f"PQ{_parts(dimension)}"):
        factory = f"{coarse},{codes}"
        each, _ = _bytes_of(factory, dimension, settings.metric)
        larger = 1.0 if given else max(1.0, _VECTOR_BYTES * dimension / each)
        choice = Choice(factory, "auto", int(shard_rows * larger))
        sizes[choice] = index_bytes(factory, rows, dimension, settings.metric, choice.shard_rows)
        if sizes[choice] <= budget:
            return choice
    smallest = min(sizes, key=sizes.__getitem__)
    raise RecipeError(
        f"memory_budget of {budget:,} bytes: an index of {rows:,} vectors of {dimension} dimensions takes "
        f"{sizes[smallest]:,} bytes at least ({smallest.factory}); allow that, or index fewer rows"
    )


def index_bytes(factory: str, rows: int, dimension: int, metric: Metric, shard_rows: int) -> int:
    """Return what an index of so many rows holds in memory: vectors or codes, ids, links, and centroids of shards."""
    each, of_shard = _bytes_of(factory, dimension, metric)
    return each * rows + of_shard * -(-rows // shard_rows)


def _bytes_of(factory: str, dimension: int, metric: Metric) -> tuple[int, int]:
    """Return the bytes of a row, and those of a shard besides its rows."""
    import faiss

    index = make_index(factory, dimension, metric)
    searched = leaf(index)
    if isinstance(searched, faiss.IndexIVF):
        lists = int(searched.nlist) * (_node_bytes(searched.quantizer) + _COUNT_BYTES)
        return int(searched.code_size) + _ID_BYTES, lists + _table_bytes(searched) + _SETTINGS_BYTES
    return _node_bytes(searched), _SETTINGS_BYTES


def _node_bytes(index: Any) -> int:
    """Return the bytes of a row of an index without lists."""
    import faiss

    found: Any = faiss.downcast_index(index)
    if isinstance(found, faiss.IndexHNSW):
        graph: Any = found.hnsw
        return _node_bytes(found.storage) + _LINK_BYTES * int(graph.nb_neighbors(0)) + _GRAPH_NODE_BYTES
    return int(found.sa_code_size())


def _table_bytes(lists: Any) -> int:
    """Return the bytes of a quantizer's tables.

    They are the ranges of a scalar quantizer; of a product quantizer the centroids, and the distances that L2 keeps.
    """
    import faiss

    if isinstance(lists, faiss.IndexIVFScalarQuantizer):
        return 4 * 2 * int(lists.d)
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
