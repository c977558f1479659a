"""The neighbours of every predicted token, looked up once and kept, so that settings can be tried over them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.retrievers.readers.knn_lm.mixing import knn_log_probability, mixed_log_probability
from mnemodex.retrievers.readers.knn_lm.neighbours import look_up
from mnemodex.retrievers.readers.knn_lm_report.neighbour_files import NeighbourFiles, batches
from mnemodex.retrievers.readers.knn_lm_report.walking import walk

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mnemodex.retrievers.datastore import Datastore
    from mnemodex.retrievers.readers.knn_lm.mixing import Mixing
    from mnemodex.retrievers.readers.knn_lm_report.reading import Readings


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
        seconds: wall time of the searches.
    """

    readings: Readings
    distances: NDArray[np.float32]
    values: NDArray[np.int32]
    nearest: NDArray[np.float32]
    searched: NDArray[np.bool_]
    gated: NDArray[np.bool_]
    seconds: float

    def model(self) -> NDArray[np.float64]:
        """The logarithm of p of each token by the model alone, shape (n,)."""
        return -self.readings.surprisal.astype(np.float64)

    def neighbours(self, temperature: float) -> NDArray[np.float64]:
        """The logarithm of p_knn of each token, shape (n,); -inf where no neighbour has it."""
        found = np.empty(len(self.readings), np.float64)
        for rows in batches(len(found), self.distances.shape[1]):
            found[rows] = knn_log_probability(
                self.distances[rows], self.values[rows], self.readings.tokens[rows], temperature
            )
        return found

    def mixed(self, mixing: Mixing) -> NDArray[np.float64]:
        """The logarithm of p of each token by model and neighbours, shape (n,).

        Args:
            mixing: with a temperature.
        """
        assert mixing.temperature is not None  # noqa: S101 - `evaluate` gives one
        weights = mixing.weight_of(self.nearest)
        return mixed_log_probability(self.model(), self.neighbours(mixing.temperature), weights)


def gather(datastore: Datastore, readings: Readings, mixing: Mixing, folder: Path) -> Neighbourhoods:
    """Look up the neighbours of all tokens that pass the gate, or follow them where the pointers are enough.

    Args:
        datastore: where.
        readings: the tokens.
        mixing: of it `k`, `gate`, `rescore` and `pointers` are used; the others can be tried afterwards.
        folder: where the neighbours are written, as `.npy`; what is there is overwritten.

    Raises:
        QueryError: k is above the number of entries.
    """
    gated = np.zeros(len(readings), bool) if mixing.gate is None else np.asarray(readings.entropy < mixing.gate)
    files = NeighbourFiles(folder, len(readings), mixing.k)
    if mixing.pointers is None:
        seconds, searched = _search(datastore, readings, mixing, ~gated, files), ~gated
    else:
        seconds, searched = walk(datastore, readings, mixing, ~gated, files)
    files.clear(gated)
    return Neighbourhoods(readings, *files.read(), searched=searched, gated=gated, seconds=seconds)


def _search(
    datastore: Datastore, readings: Readings, mixing: Mixing, wanted: NDArray[np.bool_], files: NeighbourFiles
) -> float:
    """Search for every wanted token; returns the seconds that it took."""
    seconds = 0.0
    rows = np.flatnonzero(wanted)
    for part in batches(len(rows), mixing.k):
        keys = np.ascontiguousarray(readings.keys[rows[part]])
        started = time.perf_counter()
        found = look_up(datastore, keys, mixing.k, rescore=mixing.rescore)
        seconds += time.perf_counter() - started
        files.put(rows[part], found)
    return seconds
