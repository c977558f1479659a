"""The files of a shard, and a search in which no query gets too few hits."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import ValidationError

from mnemodex.indexers.arrays import Bools, Float32s, Int64s, check_places, open_arrays, save_arrays
from mnemodex.indexers.dense.engine import GRAPH_LIMIT, keep_allowed
from mnemodex.indexers.dense.faiss_engine import FaissEngine
from mnemodex.indexers.dense.hnswlib_engine import HnswlibEngine
from mnemodex.indexers.dense.vectors import Vectors, exact_search, true_scores
from mnemodex.indexers.rows import Rows
from mnemodex.indexers.vector_settings import Metric
from mnemodex.schemas.artifacts import Frozen
from mnemodex.schemas.errors import CorruptFileError, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mnemodex.indexers.dense.engine import Engine

    Find = Callable[[Float32s, int], tuple[Float32s, Int64s]]

HEADER = "shard.json"

WIDENING = 4
"""A search with too few hits is repeated with so many times the parameter."""

SPARE = 8
"""Hits that are looked for beyond those that are expected to hold enough live ones."""

MOST_TIES = 4096
"""Rows of equal score at the last place that are compared by id; with more it is open which of them come in."""


class ShardHeader(Frozen):
    """The content of `shard.json`; `partition_rows` are the rows of each embedding partition in the shard."""

    partition_rows: tuple[int, ...]
    rows: int
    dimension: int
    metric: Metric
    engine: Literal["faiss", "hnswlib"]
    factory: str | None
    id_column: str = "chunk_id"

    @classmethod
    def read(cls, folder: Path) -> ShardHeader:
        """Read `shard.json`; a `CorruptFileError` says that it is missing or not one."""
        path = folder / HEADER
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise CorruptFileError(f"{path}: cannot be read ({reason(error)}); build the index again") from error


def write_shard(folder: Path, header: ShardHeader, rows: Rows) -> None:
    """Write all files but the index; `by_chunk.npy` holds the positions by ascending id."""
    rows.save(folder, id_column=header.id_column)
    save_arrays(folder, by_chunk=np.argsort(rows.ids, kind="stable"))
    (folder / HEADER).write_text(header.model_dump_json(indent=1) + "\n", encoding="utf-8")


class Shard:
    """An opened shard, with its header, rows and engine, and the vectors that its index was built from.

    Its arrays are mapped; for the arguments see `DenseSearcher`.

    Rows that `leave_out` names are no hits of any search.
    """

    engine: Engine
    _live: tuple[Bools, Int64s] | None = None
    """Which rows may be hits, bool of shape (rows,), and their positions; None where all may."""

    def __init__(
        self, folder: Path, parameter: int | None, vectors: Callable[[str], Path], refine: int | None = None
    ) -> None:
        self._folder = folder
        self._vector_file = vectors
        self._refine = refine
        self.header = header = ShardHeader.read(folder)
        self.rows = Rows.open(folder, id_column=header.id_column)
        if header.engine == "hnswlib":
            self.engine = HnswlibEngine.open(folder, header.metric, header.dimension, ef=parameter)
        else:
            self.engine = FaissEngine.open(folder, header.metric)
        if parameter is not None and not 0 < parameter <= max(self.engine.limit, GRAPH_LIMIT):
            raise CorruptFileError(
                f"{folder}: is searched with {parameter}, which its index does not take; build the index again"
            )
        self._parameter = max(self.engine.grid, default=None) if parameter is None else parameter
        (self._by_chunk,) = open_arrays(folder, by_chunk=np.int64)
        expected = (header.rows, header.dimension, header.rows, header.rows)
        sizes = (self.engine.rows, self.engine.dimension, len(self.rows.ids), len(self._by_chunk))
        if sizes != expected:
            raise CorruptFileError(
                f"{folder}: shard.json says {expected[0]} rows of {expected[1]} dimensions, but the index holds "
                f"{sizes[0]} of {sizes[1]}, and its row tables {sizes[2]} and {sizes[3]}; build the index again"
            )

        check_places(self._by_chunk, header.rows, folder, "by_chunk")

    def positions(self, ids: Int64s) -> Int64s:
        """Return the position of each id, of any shape; -1 where it is not in the shard."""
        known = self.rows.ids
        if not len(known):
            return np.full(ids.shape, -1, dtype=np.int64)
        slots = np.searchsorted(known, ids, sorter=self._by_chunk)
        positions = np.asarray(self._by_chunk[np.minimum(slots, len(known) - 1)])
        return np.where(known[positions] == ids, positions, -1)

    def find(self, chunk_ids: Int64s) -> Int64s:
        """Return the positions, in no order, of those of the ascending `chunk_ids` that are in the shard."""
        ids = self.rows.ids
        if len(chunk_ids) > len(ids):
            slots = np.searchsorted(chunk_ids, ids)
            return np.flatnonzero(chunk_ids[np.minimum(slots, len(chunk_ids) - 1)] == ids)
        positions = self.positions(chunk_ids)
        return positions[positions >= 0]

    def search(
        self, queries: Float32s, k: int, *, allowed: Int64s | None = None, exact: bool = False
    ) -> tuple[Float32s, Int64s, Int64s]:
        """Find the k best rows of each checked query, shape (q, d), among the positions allowed, as `find_ranked` does.

        With `exact`, queries are compared with the vectors at these positions instead of asking the index.
        """
        if allowed is None and self._live is not None:
            live, positions = self._live
            find = partial(self._search_live, live, positions)
            return find_ranked(find, queries, k, matching=len(positions), ids=self.rows.ids)
        find = partial(self._search_exactly if exact else self._search_index, allowed)
        matching = self.header.rows if allowed is None else len(allowed)
        return find_ranked(find, queries, k, matching=matching, ids=self.rows.ids)

    def _search_index(self, allowed: Int64s | None, queries: Float32s, k: int) -> tuple[Float32s, Int64s]:
        """Ask the index; wider again for queries with fewer than k hits, and in the end exactly."""
        mask = None
        if allowed is not None:
            mask = np.zeros(self.header.rows, dtype=bool)
            mask[allowed] = True
        parameter = self._parameter
        scores, positions = self._ask(queries, k, parameter, mask)
        short = np.flatnonzero(positions[:, -1] < 0)
        while len(short) and parameter is not None and parameter < self.engine.limit:
            parameter = min(WIDENING * parameter, self.engine.limit)
            scores[short], positions[short] = self._ask(queries[short], k, parameter, mask)
            short = short[positions[short, -1] < 0]
        if len(short):
            scores[short], positions[short] = self._search_exactly(allowed, queries[short], k)
        return scores, positions

    def _ask(self, queries: Float32s, k: int, parameter: int | None, allowed: Bools | None) -> tuple[Float32s, Int64s]:
        """Ask the index, and where hits are refined, for more that are compared by their vectors."""
        width = self._width(k)
        scores, positions = self.engine.search(queries, width, parameter=parameter, allowed=allowed)
        return self._refined(queries, scores, positions, k)

    def _width(self, k: int) -> int:
        """Return how many hits of the index k hits take."""
        return k if self._refine is None else min(self.header.rows, k * self._refine)

    def _refined(self, queries: Float32s, scores: Float32s, positions: Int64s, k: int) -> tuple[Float32s, Int64s]:
        """Return the best k hits by their vectors, where hits are refined; else the hits as they are."""
        if self._refine is None:
            return scores, positions
        vectors = np.where(positions >= 0, self._numbers(positions), -1)
        compared = true_scores(queries, vectors, self._vectors, self.header.metric).astype(np.float32)
        best = np.argsort(-compared, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(compared, best, axis=1), np.take_along_axis(positions, best, axis=1)

    def _numbers(self, positions: Int64s) -> Int64s:
        """Return the numbers in `_vectors` of the rows at some positions."""
        rows = self.rows
        return np.asarray(self._vectors.starts[rows.partition[positions]] + rows.row[positions])

    def leave_out(self, masked: Bools) -> None:
        """Let rows, bool of shape (rows,), be no hits of any search from here on."""
        live = ~masked
        self._live = (live, np.flatnonzero(live)) if masked.any() else None

    def _search_live(self, live: Bools, allowed: Int64s, queries: Float32s, k: int) -> tuple[Float32s, Int64s]:
        """Ask the index for more hits than are wanted, and keep the live ones: no filter costs less."""
        rows, width = self.header.rows, self._width(k)
        fetch = min(rows, -(-width * rows // max(1, len(allowed))) + SPARE)
        scores, positions = self.engine.search(queries, fetch, parameter=self._parameter)
        scores, positions = self._refined(queries, *keep_allowed(scores, positions, live, width), k)
        short = np.flatnonzero(positions[:, -1] < 0)
        if len(short):
            scores[short], positions[short] = self._search_index(allowed, queries[short], k)
        return scores, positions

    def _search_exactly(self, allowed: Int64s | None, queries: Float32s, k: int) -> tuple[Float32s, Int64s]:
        """Compare the queries with the vectors at the allowed positions, which are read in the order of the files."""
        allowed = np.arange(len(self.rows.ids)) if allowed is None else allowed
        vectors = self._numbers(allowed)
        front = np.argsort(vectors)
        blocks = self._vectors.blocks(vectors[front])
        scores, numbers = exact_search(queries, blocks, k, metric=self.header.metric)
        return scores, allowed[front][numbers]

    @cached_property
    def _vectors(self) -> Vectors:
        labels = self.rows.labels
        paths = list(map(self._vector_file, labels))
        scattered = self._refine is not None
        vectors = Vectors(paths, labels, dimension=self.header.dimension, scattered=scattered)
        rows = tuple(np.diff(vectors.starts).tolist())
        # A partition may have grown at its end since.
        if any(now < then for now, then in zip(rows, self.header.partition_rows, strict=True)):
            raise CorruptFileError(
                f"{self._folder}: was built from partitions of {self.header.partition_rows} rows, but their vectors "
                f"have {rows}; build the index again"
            )
        return vectors


def sort_ties(scores: Float32s, ids: Int64s) -> tuple[Int64s, Int64s]:
    """Order hits with equal scores by their ids, in hits that are sorted by score already, of shape (q, n).

    Sorting by two keys takes long, and few queries have ties, so only these are sorted (missing hits are no ties).
    Return the numbers of the queries with ties, shape (t,), and the new order of their hits, shape (t, n).
    """
    tied = ((scores[:, 1:] == scores[:, :-1]) & np.isfinite(scores[:, 1:])).any(axis=1)
    queries = np.flatnonzero(tied)
    return queries, np.lexsort((ids[queries], -scores[queries]), axis=-1)


def find_ranked(
    find: Find, queries: Float32s, k: int, *, matching: int, ids: Int64s
) -> tuple[Float32s, Int64s, Int64s]:
    """Find the k best hits of queries, of shape (q, d), with ties at the last place decided by id.

    One hit more than wanted shows whether the last place is tied; only then is more looked for, twice as much each
    time. Return scores, chunk ids (-1 where missing) and positions (likewise), of shape (q, k).

    `find` takes queries and a number of hits, and gives their scores and positions (-inf and -1 where missing), best
    first. There are at most `matching` hits; `ids` are the chunks at the positions.
    """
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    positions = np.full((len(queries), k), -1, dtype=np.int64)
    most = min(matching, k + MOST_TIES)
    fetch = min(k + 1, most)
    width = min(k, fetch)
    todo = np.arange(len(queries) if fetch else 0)
    while len(todo):
        hit_scores, hits = find(queries[todo], fetch)
        last = hit_scores[:, -1]
        open_end = np.isfinite(last) & (hit_scores[:, width - 1] == last) & (k < fetch < most)
        ties, order = sort_ties(hit_scores, ids[hits])
        hits[ties] = np.take_along_axis(hits[ties], order, axis=1)
        scores[todo, :width] = hit_scores[:, :width]
        positions[todo, :width] = hits[:, :width]
        todo = todo[open_end]
        fetch = min(2 * fetch, most)
    return scores, np.where(positions >= 0, ids[positions] if len(ids) else -1, -1), positions


def merge_ranked(
    answers: Sequence[tuple[Float32s, Int64s, Int64s]], first: Int64s, k: int
) -> tuple[Float32s, Int64s, Int64s]:
    """Return the k best hits of several shards, each with scores, chunk ids and positions of shape (q, k).

    They are scores, chunk ids and numbers of rows (-1 where missing), of shape (q, k). Rows are numbered through all
    shards, and `first` are the numbers of the shards' first ones.
    """
    scores, ids, positions = (np.concatenate(arrays, axis=1) for arrays in zip(*answers, strict=True))
    numbers = np.where(positions >= 0, positions + np.repeat(first, k), -1)
    if len(answers) == 1:
        return scores, ids, numbers
    order = np.argsort(-scores, axis=1, kind="stable")
    ties, by_id = sort_ties(np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1))
    order[ties] = np.take_along_axis(order[ties], by_id, axis=1)
    best = (np.arange(len(order))[:, None], order[:, :k])
    return scores[best], ids[best], numbers[best]
