"""The neighbours of every predicted token, looked up once and kept, so that settings can be tried over them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.retrievers.readers.knn_lm.mixing import knn_log_probability, mixed_log_probability, nearest_distance
from mnemodex.retrievers.readers.knn_lm.pointers import Pointers, look_up

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mnemodex.indexers.arrays import Bools, Float32s, Float64s, Int32s, Int64s
    from mnemodex.retrievers.datastore import Datastore, Neighbours
    from mnemodex.retrievers.readers.knn_lm.mixing import Mixing
    from mnemodex.retrievers.readers.knn_lm_report.reading import Readings

ENTRIES = 1 << 21
"""Neighbours that are in memory at once."""


@dataclass(frozen=True, slots=True)
class Neighbourhoods:
    """The neighbours of n predicted tokens. Those of tokens without any are at distance inf.

    Attributes:
        readings: what the model says of the same tokens.
        distances: squared, float32 of shape (n, k), memory-mapped.
        values: the tokens that came next there, int32 of shape (n, k), memory-mapped.
        nearest: the least distance of each token, float32 of shape (n,).
        searched: the tokens that the index was searched for, bool of shape (n,).
        gated: those whose distribution was certain enough to do without, bool of shape (n,).
        seconds: wall time of the look-ups.
    """

    readings: Readings
    distances: Float32s
    values: Int32s
    nearest: Float32s
    searched: Bools
    gated: Bools
    seconds: float

    def model(self) -> Float64s:
        """Return the logarithm of p of each token by the model alone, shape (n,)."""
        return -self.readings.surprisal.astype(np.float64)

    def mixed(self, mixing: Mixing) -> Float64s:
        """Return the logarithm of p of each token by model and neighbours, mixed at a temperature, shape (n,)."""
        assert mixing.temperature is not None  # noqa: S101 - `evaluate` gives one
        neighbours = np.empty(len(self.readings), np.float64)
        for rows in batches(*self.distances.shape):
            neighbours[rows] = knn_log_probability(
                self.distances[rows], self.values[rows], self.readings.tokens[rows], mixing.temperature
            )
        return mixed_log_probability(self.model(), neighbours, mixing.weight_of(self.nearest))


def batches(rows: int, k: int) -> Iterator[slice]:
    """Yield slices of rows whose neighbours fit into memory together."""
    step = max(ENTRIES // k, 1)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def gather(datastore: Datastore, readings: Readings, mixing: Mixing, folder: Path) -> Neighbourhoods:
    """Look up the neighbours of all tokens that pass the gate, or follow them where the pointers are enough.

    Of the settings, `k`, `gate`, `rescore` and `pointers` are used; the others can be tried afterwards. The neighbours
    are written into the folder, as `.npy`; files of a former call are overwritten.

    Raises:
        QueryError: k is above the number of entries.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shape = (len(readings), mixing.k)
    # They are more than memory may hold.
    distances: Any = np.lib.format.open_memmap(folder / "distances.npy", mode="w+", dtype=np.float32, shape=shape)
    values: Any = np.lib.format.open_memmap(folder / "values.npy", mode="w+", dtype=np.int32, shape=shape)
    gated = np.zeros(len(readings), bool) if mixing.gate is None else np.asarray(readings.entropy < mixing.gate)
    distances[gated], values[gated] = np.inf, -1
    searched = np.zeros(len(readings), bool)
    find = _search if mixing.pointers is None else _follow
    seconds = 0.0
    started = time.perf_counter()
    for rows, neighbours, by_search in find(datastore, readings, mixing, ~gated):
        seconds += time.perf_counter() - started
        distances[rows], values[rows], searched[rows] = neighbours.distances, neighbours.tokens, by_search
        started = time.perf_counter()
    nearest = np.asarray(nearest_distance(distances))
    return Neighbourhoods(readings, distances, values, nearest, searched, gated, seconds)


def _search(
    datastore: Datastore, readings: Readings, mixing: Mixing, wanted: Bools
) -> Iterator[tuple[Int64s, Neighbours, Bools | bool]]:
    """Yield wanted rows, their neighbours, and whether these were searched for: all are."""
    every = np.flatnonzero(wanted)
    for part in batches(len(every), mixing.k):
        rows = every[part]
        yield rows, look_up(datastore, np.ascontiguousarray(readings.keys[rows]), mixing), True


def _follow(
    datastore: Datastore, readings: Readings, mixing: Mixing, wanted: Bools
) -> Iterator[tuple[Int64s, Neighbours, Bools | bool]]:
    """Yield the same as `_search`, by pointers that go from the first token of each text to its last."""
    _, starts, lengths = np.unique(readings.text, return_index=True, return_counts=True)
    # The longest first, so that those which continue are always the first ones.
    order = np.argsort(-lengths, kind="stable")
    for part in batches(len(order), mixing.k):
        group = order[part]
        pointers = Pointers(datastore, mixing, len(group))
        for step in range(int(lengths[group[0]])):
            rows = starts[group[lengths[group] > step]] + step
            if len(rows) < len(pointers):
                pointers.reorder(np.arange(len(rows)))
            # At the first step nothing can be followed, whatever came.
            came = readings.tokens[rows - min(step, 1)]
            neighbours = pointers.step(np.ascontiguousarray(readings.keys[rows]), came, wanted[rows])
            chosen = wanted[rows]
            yield rows[chosen], neighbours.take(chosen), ~pointers.followed[chosen]
