"""How the order in which a graph is grown changes its recall, on some vectors.

Elliott and Clark, "The Impacts of Data, Ordering, and Intrinsic Dimensionality on Recall in Hierarchical Navigable
Small Worlds" (2024), with several seeds: of the shuffle, of the clusters, and of the levels of the graphs.
"""

from __future__ import annotations

import itertools
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from mnemodex.indexers.dense.devices import set_threads
from mnemodex.indexers.dense.factory import make_index
from mnemodex.indexers.dense.faiss_engine import FaissEngine
from mnemodex.indexers.dense.hnswlib_engine import HnswlibEngine
from mnemodex.indexers.dense.order import insertion_order
from mnemodex.indexers.dense.probe import K, recall_by_query
from mnemodex.indexers.dense.vectors import Vectors, exact_search, true_scores
from mnemodex.indexers.vector_settings import DenseSettings, Metric, Order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mnemodex.indexers.arrays import Float32s, Float64s, Int64s
    from mnemodex.indexers.dense.engine import Engine

EngineName = Literal["faiss", "hnswlib"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
ORDERS: tuple[Order, ...] = get_args(Order)
VALUES = (8, 16, 32, 64, 128, 256)
"""Candidates that a search keeps (efSearch of FAISS, ef of hnswlib); below ten, both keep ten for ten hits."""

LINKS = 16
"""Of a node, twice as many on the lowest level; both libraries' usual number."""

_BLOCK_ROWS = 1000
"""Rows that are added before an interrupt is looked for."""


@dataclass(frozen=True, slots=True)
class OrderRecall:
    """Recall@10 of the graphs that one library grows in one order.

    Attributes:
        values: the search parameter of each of p figures.
        recalls: of each seed, of shape (seeds, p).
        means: over the seeds, of shape (p,).
        half_widths: of the 95 % interval of each mean (Student's t over the seeds).
    """

    engine: EngineName
    order: Order
    values: tuple[int, ...]
    recalls: tuple[tuple[float, ...], ...]
    means: tuple[float, ...]
    half_widths: tuple[float, ...]

    @classmethod
    def of(cls, engine: EngineName, order: Order, recalls: Float64s) -> OrderRecall:
        """Return the figures of some seeds, of shape (seeds, p)."""
        from scipy.stats import t

        spread = recalls.std(axis=0, ddof=1) / np.sqrt(len(recalls))
        half_widths = spread * t.ppf(0.975, len(recalls) - 1)
        rows = tuple(map(tuple, recalls.tolist()))
        return cls(engine, order, VALUES, rows, tuple(recalls.mean(axis=0).tolist()), tuple(half_widths.tolist()))

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def study_orders(
    matrix: Float32s, queries: Float32s, metric: Metric, *, seeds: int, threads: int, report: Callable[[str], None]
) -> list[OrderRecall]:
    """Grow a graph of both libraries in every order and with every seed, and measure the recall of each.

    Each graph is grown by one thread, row by row, so that its order is kept; `threads` are grown at a time. An
    interrupt ends it after the rows that are being added.

    Args:
        matrix: rows of the graphs, of shape (n, d), in the order that they come in.
        queries: of shape (q, d), none of them a row.
        metric: of both.
        seeds: how many there are, three at least.
        threads: of the CPU.
        report: called with each line of progress.
    """
    set_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        np.save(path, matrix, allow_pickle=False)
        vectors = Vectors([path], ["sample"], dimension=matrix.shape[1])
        return _Study(vectors, queries, metric, report).run(seeds, threads)


class _Study:
    """The vectors of a study, and the exact answers to its queries."""

    def __init__(self, vectors: Vectors, queries: Float32s, metric: Metric, report: Callable[[str], None]) -> None:
        self._vectors = vectors
        self._queries = queries
        self._metric: Metric = metric
        self._report = report
        self._stopped = Event()
        self._k = min(K, len(vectors))
        rows = np.arange(len(vectors), dtype=np.int64)
        exact = exact_search(queries, vectors.blocks(rows), self._k, metric=metric)[1]
        self._exact = true_scores(queries, exact, vectors, metric)

    def run(self, seeds: int, threads: int) -> list[OrderRecall]:
        """Return the figures of each library and order."""
        recalls: dict[tuple[EngineName, Order, int], Float64s] = {}
        pool = ThreadPoolExecutor(threads)
        try:
            jobs = {
                pool.submit(self._measure, engine, order, seed): (engine, name, seed)
                for name, seed, order in self._orders(seeds)
                for engine in ENGINES
            }
            for number, job in enumerate(as_completed(jobs), 1):
                engine, name, seed = jobs[job]
                recalls[engine, name, seed] = job.result()
                self._report(f"{number} of {len(jobs)} graphs: {engine}, {name}, seed {seed}")
        finally:
            self._stopped.set()
            pool.shutdown(cancel_futures=True)
        return [
            OrderRecall.of(engine, order, np.stack([recalls[engine, order, seed] for seed in range(seeds)]))
            for engine, order in itertools.product(ENGINES, ORDERS)
        ]

    def _orders(self, seeds: int) -> Iterator[tuple[Order, int, Int64s]]:
        """Yield every order with every seed; only a shuffle and clusters depend on it."""
        for name in ORDERS:
            self._report(f"the order {name} of {len(self._vectors):,} rows")
            orders = {seed: insertion_order(name, self._vectors, seed=seed) for seed in _seeds_of(name, seeds)}
            for seed in range(seeds):
                yield name, seed, orders.get(seed, orders[0])

    def _measure(self, engine: EngineName, order: Int64s, seed: int) -> Float64s:
        """Return the recall of a graph with each value, of shape (p,)."""
        graph = self._grow(engine, order, seed)
        scores = []
        for value in VALUES:
            positions = graph.search(self._queries, self._k, parameter=value)[1]
            rows = np.where(positions >= 0, order[positions], -1)
            scores.append(true_scores(self._queries, rows, self._vectors, self._metric))
        recalls: Float64s = recall_by_query(self._exact, np.stack(scores)).mean(axis=1)
        return recalls

    def _grow(self, engine: EngineName, order: Int64s, seed: int) -> Engine:
        graph = self._empty(engine, seed)
        for block in self._vectors.blocks(order, _BLOCK_ROWS):
            # FAISS shuffles the rows that it is given together.
            for rows in np.split(block, len(block)) if engine == "faiss" else [block]:
                if self._stopped.is_set():
                    return graph
                graph.add([rows])
        return graph

    def _empty(self, engine: EngineName, seed: int) -> Engine:
        dimension, rows = self._vectors.dimension, len(self._vectors)
        if engine == "hnswlib":
            settings = DenseSettings(engine="hnswlib", m=LINKS, metric=self._metric, seed=seed)
            return HnswlibEngine.create(settings, rows, dimension)
        import faiss

        # Its stubs lack the class.
        untyped: Any = faiss
        index = make_index(f"HNSW{LINKS}", dimension, self._metric)
        index.hnsw.rng = untyped.RandomGenerator(seed)
        return FaissEngine(index, self._metric)


def _seeds_of(order: Order, seeds: int) -> Sequence[int]:
    return range(seeds) if order in {"shuffle", "cluster"} else (0,)
