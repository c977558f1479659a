"""How an index over vectors grows: Flat, graphs, and inverted lists, whose number depends on the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnemodex.indexers.dense.budget import choose_factory
from mnemodex.indexers.dense.factory import CODE_POINTS, POINTS_PER_LIST, leaf, make_index
from mnemodex.indexers.dense.probe import factors, held_out_rows
from mnemodex.pipelines.planner.laws import Estimate, Point, logarithm, predict, sorting
from mnemodex.pipelines.planner.layout import shard_sizes
from mnemodex.pipelines.planner.vectors import layout_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from mnemodex.indexers.vector_settings import VectorSettings
    from mnemodex.pipelines.planner.figures import VectorTrial

    Features = Callable[[int, int], tuple[float, ...]]
    """The values of a cost's laws at rows and lists."""

_MOST_POINTS_PER_LIST = 256
"""FAISS trains centroids with so many points each at most."""
_GRAPHS = {"efSearch", "ef"}
"""Search parameters of graphs."""
_CACHED = 0.75
"""The part of the cache that a graph has for itself."""
_MOST_VALUES = 10
"""Numbers of lists that the measurement of recall tries: powers of two up to 512."""


@dataclass(frozen=True, slots=True)
class VectorPlan:
    """What an index over vectors takes.

    Attributes:
        layout: its factory string, or `hnswlib`.
        shards: how many there are of so many rows.
        bytes: of the files that hold the vectors or codes, and what was measured.
        build: CPU seconds of all shards.
        train: CPU seconds of training; None where there is none.
        training_rows: that it is trained with.
        lists: inverted lists; 0 without any.
        search: CPU seconds of a query in a batch.
    """

    layout: str
    shards: Counter[int]
    bytes: Estimate
    build: Estimate
    train: Estimate | None
    training_rows: int
    lists: int
    search: Estimate


def plan_vectors(settings: VectorSettings, rows: int, trials: Sequence[VectorTrial]) -> VectorPlan:
    """Return what an index of so many rows takes, from indexes of the same layout that were built by themselves."""
    layout, lists, needs_training = layout_of(settings, rows, trials[-1].dimension), 0, False
    shard_rows, refines = settings.shard_rows, 1
    if settings.engine == "faiss":
        choice = choose_factory(settings, rows, trials[-1].dimension)
        shard_rows, refines = choice.shard_rows, max(1, len(factors(choice.refine)))
        index = make_index(layout, trials[-1].dimension, settings.metric)
        lists, needs_training = int(getattr(leaf(index), "nlist", 0)), not index.is_trained
    grown = _Growth(trials, shard_sizes(rows, shard_rows), lists, by_graph="_HNSW" in layout)
    probes = sum(held_out_rows(size) * many for size, many in grown.shards.items())
    # Ids and scores of ten answers to each probe: exact ones, and of each value.
    values = sum(1 << power < lists for power in range(_MOST_VALUES)) + (lists <= 512) if lists else trials[-1].values
    if lists:
        values *= refines
    probe_bytes = Estimate.exact(10 * probes * (16 + 20 * values))
    training_rows = min(rows, max(POINTS_PER_LIST * lists, CODE_POINTS))
    return VectorPlan(
        layout=layout,
        shards=grown.shards,
        bytes=grown.summed(lambda one: one.bytes, lambda size, clusters: (1.0, float(size))) + probe_bytes,
        build=grown.build(),
        train=grown.train(training_rows) if needs_training else None,
        training_rows=training_rows,
        lists=lists,
        search=grown.search(rows),
    )


@dataclass(frozen=True, slots=True)
class _Growth:
    """From indexes of one layout to the shards of a large one; `by_graph` finds the list of a row by a graph."""

    trials: Sequence[VectorTrial]
    shards: Counter[int]
    lists: int
    by_graph: bool

    @property
    def is_graph(self) -> bool:
        return self.trials[-1].parameter in _GRAPHS

    def summed(self, cost: Callable[[VectorTrial], float], features: Features) -> Estimate:
        """Return a cost of all shards together."""
        each = [(features(size, self.lists), many) for size, many in self.shards.items()]
        goal = [
            sum(column) for column in zip(*([value * many for value in values] for values, many in each), strict=True)
        ]
        return predict(self._points(cost, features), goal) if goal else Estimate.exact(0.0)

    def _points(self, cost: Callable[[VectorTrial], float], features: Features) -> list[Point]:
        return [Point(features(one.rows, one.lists), cost(one), number) for number, one in enumerate(self.trials)]

    def build(self) -> Estimate:
        """Return the CPU seconds of adding all rows, and of measuring recall exactly and by the index."""
        exact = self.summed(lambda one: one.exact, lambda size, clusters: (float(held_out_rows(size) * size),))
        return (
            self.summed(lambda one: one.add, self._adding) + exact + self.summed(lambda one: one.probe, self._probing)
        )

    def _adding(self, size: int, clusters: int) -> tuple[float, ...]:
        if self.is_graph:
            return (sorting(size), sorting(size) * self._missing(size))
        if not clusters:
            return (float(size),)
        return (float(size), size * (logarithm(clusters) if self.by_graph else float(clusters)))

    def _missing(self, size: int) -> float:
        """Return the part of a graph of so many rows that is not in the CPU's cache: a walk waits for it."""
        last = self.trials[-1]
        return max(0.0, 1.0 - _CACHED * last.cache * last.rows / max(last.bytes * size, 1))

    def _walking(self, size: int, clusters: int) -> tuple[float, ...]:
        return (logarithm(size), logarithm(size) * self._missing(size))

    def _probing(self, size: int, clusters: int) -> tuple[float, ...]:
        probes = held_out_rows(size)
        if self.is_graph:
            return (probes * logarithm(size), probes * logarithm(size) * self._missing(size))
        if not clusters:
            return (float(probes * size),)
        looked_at = sum(1 << power for power in range(_MOST_VALUES) if 1 << power < clusters)
        return (probes * looked_at * size / clusters, float(probes * clusters))

    def train(self, rows: int) -> Estimate:
        """Return the CPU seconds of training with so many rows."""
        points = [Point(_training(one.rows, one.lists), one.train, number) for number, one in enumerate(self.trials)]
        return predict(points, _training(rows, self.lists))

    def search(self, rows: int) -> Estimate:
        """Return the CPU seconds of a query."""
        if self.is_graph:
            # Every shard's graph is searched from its top.
            shards = max(1, self.shards.total())
            points = self._points(lambda one: one.search, self._walking)
            return predict(points, self._walking(rows // shards, 0)).times(shards)
        points = self._points(lambda one: one.search, self._looking)
        found = predict(points, self._looking(rows, self.lists))
        if not self.lists:
            return found
        # At most, the same part of the lists is looked at as in a small index; at least, the same number of them.
        last = self.trials[-1]
        least = last.search * (rows / self.lists) / (last.rows / max(last.lists, 1))
        low, high = sorted((least, found.high))
        return Estimate((low * high) ** 0.5, low, high)

    @staticmethod
    def _looking(size: int, clusters: int) -> tuple[float, ...]:
        return (float(size), float(clusters)) if clusters else (float(size),)


def _training(rows: int, lists: int) -> tuple[float, ...]:
    points = min(rows, max(POINTS_PER_LIST * lists, CODE_POINTS))
    return (1.0, float(min(points, _MOST_POINTS_PER_LIST * max(lists, 1)) * lists), float(min(points, CODE_POINTS)))
