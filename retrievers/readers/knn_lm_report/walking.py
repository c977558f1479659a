"""Looking up texts token by token, many texts side by side, where neighbours are followed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.retrievers.readers.knn_lm.neighbours import taken
from mnemodex.retrievers.readers.knn_lm.pointers import Pointers
from mnemodex.retrievers.readers.knn_lm_report.neighbour_files import ENTRIES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnemodex.retrievers.datastore import Datastore
    from mnemodex.retrievers.readers.knn_lm.mixing import Mixing
    from mnemodex.retrievers.readers.knn_lm_report.neighbour_files import NeighbourFiles
    from mnemodex.retrievers.readers.knn_lm_report.reading import Readings


def walk(
    datastore: Datastore, readings: Readings, mixing: Mixing, wanted: NDArray[np.bool_], files: NeighbourFiles
) -> tuple[float, NDArray[np.bool_]]:
    """Find the neighbours of all wanted tokens by pointers and searches, from the first token of each text to its last.

    Args:
        datastore: where.
        readings: the tokens.
        mixing: of it `k`, `rescore` and `pointers` are used.
        wanted: the tokens to look up, bool of shape (n,).
        files: where neighbours are written; of tokens that are not wanted, none.

    Returns:
        The seconds that it took, and which tokens were searched for, bool of shape (n,).
    """
    _, starts, lengths = np.unique(readings.text, return_index=True, return_counts=True)
    # The longest first, so that those which go on are always the first ones.
    order = np.argsort(-lengths, kind="stable")
    together = max(ENTRIES // mixing.k, 1)
    searched = np.zeros(len(readings), bool)
    seconds = 0.0
    for first in range(0, len(order), together):
        group = order[first : first + together]
        seconds += _walk(datastore, readings, mixing, wanted, (starts[group], lengths[group]), files, searched)
    return seconds, searched


def _walk(
    datastore: Datastore,
    readings: Readings,
    mixing: Mixing,
    wanted: NDArray[np.bool_],
    texts: tuple[NDArray[np.int64], NDArray[np.int64]],
    files: NeighbourFiles,
    searched: NDArray[np.bool_],
) -> float:
    """Walk through some texts, which begin at rows and have lengths, the longest first."""
    starts, lengths = texts
    pointers = Pointers(datastore, mixing, len(starts))
    seconds = 0.0
    for step in range(int(lengths[0])):
        alive = int(np.searchsorted(-lengths, -step, side="left"))
        rows = starts[:alive] + step
        keys = np.ascontiguousarray(readings.keys[rows])
        # At the first step nothing can be followed, whatever came.
        came = np.asarray(readings.tokens[rows - min(step, 1)])
        started = time.perf_counter()
        if alive < len(pointers):
            pointers.reorder(np.arange(alive))
        found = pointers.step(keys, came, wanted[rows])
        seconds += time.perf_counter() - started
        here = wanted[rows]
        files.put(rows[here], taken(found, here))
        searched[rows] = here & ~pointers.followed
    return seconds
